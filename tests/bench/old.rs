//! How the tool that this one replaces inserted. Each run is a process of its own, so that it is measured like the others.

use std::process::Command;

use clap::{Args, ValueEnum};
use dewey_sync_entity::book;
use sea_orm::ActiveValue::{NotSet, Set};
use sea_orm::{Database, EntityTrait, QueryOrder, TransactionTrait};

use crate::Anyhow;
use crate::lab::{Lab, Urls};

/// What its Enhanced inserted at a time.
const BATCH: usize = 100;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Way {
    /// Every row by a statement of its own, all in one transaction: its Original.
    RowByRow,
    /// A hundred rows a transaction, one after the other: its Enhanced.
    Hundreds,
}

/// Makes this program do one run.
#[derive(Debug, Args)]
pub(crate) struct Old {
    #[arg(long = "old", hide = true, requires_all = ["source", "target", "owner"])]
    pub(crate) way: Option<Way>,
    #[arg(long, hide = true, default_value = "")]
    source: String,
    #[arg(long, hide = true, default_value = "")]
    target: String,
    #[arg(long, hide = true, default_value_t)]
    owner: i32,
}

/// This program, told to do one run.
pub(crate) fn command(way: Way, lab: &Lab, urls: &Urls) -> Anyhow<Command> {
    let mut this = Command::new(std::env::current_exe()?);
    let name = way.to_possible_value().ok_or("a way without a name")?;
    this.env_clear().args(["--old", name.get_name(), "--source", &urls.source, "--target", &urls.target]);
    this.arg("--owner").arg(lab.developer.to_string());
    Ok(this)
}

impl Way {
    pub(crate) async fn run(self, run: &Old) -> Anyhow<()> {
        let books = all_books(run).await?;
        let target = Database::connect(&run.target).await?;
        match self {
            Self::RowByRow => {
                let transaction = target.begin().await?;
                book::Entity::delete_many().exec(&transaction).await?;
                for book in books {
                    book::Entity::insert(book).exec_without_returning(&transaction).await?;
                }
                transaction.commit().await?;
            }
            Self::Hundreds => {
                book::Entity::delete_many().exec(&target).await?;
                for batch in books.chunks(BATCH) {
                    let transaction = target.begin().await?;
                    let insert = book::Entity::insert_many(batch.to_vec()).on_conflict_do_nothing();
                    insert.exec_without_returning(&transaction).await?;
                    transaction.commit().await?;
                }
            }
        }
        target.close().await?;
        Ok(())
    }
}

/// The whole source in memory, as the old tool had it.
async fn all_books(run: &Old) -> Anyhow<Vec<book::ActiveModel>> {
    let source = Database::connect(&run.source).await?;
    let books = book::Entity::find().order_by_asc(book::Column::Id).all(&source).await?;
    source.close().await?;
    let owned = |book: book::Model| book::ActiveModel { id: NotSet, owner_id: Set(run.owner), ..book.into() };
    Ok(books.into_iter().map(owned).collect())
}
