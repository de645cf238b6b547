//! Columns of the stage that a book may lack, because one of the two databases has no such column.

use super::Table;

pub(super) const TABLE: Table = Table {
    version: "m0010_stage_optional",
    create: r#"
alter table dewey_sync.stage
    alter column "titleLong" drop not null,
    alter column language drop not null,
    alter column synopsis drop not null,
    alter column image drop not null,
    alter column "pageCount" drop not null,
    alter column binding drop not null,
    alter column "datePublished" drop not null,
    alter column "imageOriginal" drop not null,
    alter column publisher drop not null"#,
    // Rows of the stage belong to a run that is over once the ledger goes back.
    drop: r#"
truncate dewey_sync.stage;
alter table dewey_sync.stage
    alter column "titleLong" set not null,
    alter column language set not null,
    alter column synopsis set not null,
    alter column image set not null,
    alter column "pageCount" set not null,
    alter column binding set not null,
    alter column "datePublished" set not null,
    alter column "imageOriginal" set not null,
    alter column publisher set not null"#,
};
