//! Keeps how the apply left the rows that foreign keys changed, so that an undo knows which references were given anew since.

use crate::book::TABLE;
use crate::postgres::literal;

/// A statement for the end of the writes. Rows are compared as they are stored, because the operators of a column's type may
/// be in a schema that the search path does not have. Names of tables and columns are read by the server, so none can end the block; a
/// table without a primary key is left out, because its rows cannot be found again.
pub(super) fn keep_left_sql(run_id: i64) -> String {
    format!(
        "DO $dewey_left$ DECLARE kept record; BEGIN
 FOR kept IN SELECT table_name AS name, (SELECT CASE relkind WHEN 'p' THEN '' ELSE 'ONLY ' END FROM pg_class WHERE oid = table_name::regclass) AS own_rows,
    (SELECT string_agg(format('ROW(t.%1$I)::record OPERATOR(pg_catalog.*=) ROW((k.old).%1$I)::record', attname), ' AND ') FROM pg_index JOIN pg_attribute ON attrelid = indrelid
      AND attnum = ANY ((indkey::int2[])[0:indnkeyatts - 1]) WHERE indrelid = table_name::regclass AND indisprimary) AS same_row
   FROM (SELECT DISTINCT table_name FROM dewey_sync.replaced WHERE run_id = {run_id} AND action = 'detached' AND table_name <> {book}) tables
 LOOP
  CONTINUE WHEN kept.same_row IS NULL;
  EXECUTE format('UPDATE dewey_sync.replaced r SET left_row = (t.*)::text FROM (SELECT o.replaced_id, o.row::%1$s AS old
     FROM dewey_sync.replaced o WHERE o.run_id = {run_id} AND o.action = ''detached'' AND o.table_name = %2$L OFFSET 0) k
   JOIN %3$s%1$s t ON %4$s WHERE r.replaced_id = k.replaced_id', kept.name, kept.name, kept.own_rows, kept.same_row);
 END LOOP;
END $dewey_left$",
        book = literal(TABLE),
    )
}
