//! The sequence that gives out the ids of new books: the one of the column's default, whoever owns it, or the identity's.

use sea_orm::IdenStatic;

use super::Column;

/// A scalar expression for its oid, NULL where there is none. `book` is an expression for the oid of the book table.
pub(crate) fn of_ids(book: &str) -> String {
    let id = Column::Id.as_str();
    format!(
        "coalesce((SELECT d.refobjid FROM pg_attribute a JOIN pg_attrdef f ON f.adrelid = a.attrelid AND f.adnum = a.attnum
     JOIN pg_depend d ON d.classid = 'pg_attrdef'::regclass AND d.objid = f.oid AND d.refclassid = 'pg_class'::regclass
     JOIN pg_sequence ON seqrelid = d.refobjid WHERE a.attrelid = {book} AND a.attname = '{id}' LIMIT 1),
   (SELECT d.objid FROM pg_attribute a JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = a.attrelid
       AND d.refobjsubid = a.attnum AND d.classid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
     JOIN pg_sequence ON seqrelid = d.objid WHERE a.attrelid = {book} AND a.attname = '{id}' LIMIT 1))"
    )
}
