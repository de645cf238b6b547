(SELECT json_agg(json_build_object('of', of, 'object', object, 'schema', schema, 'rights', rights) ORDER BY place, object)
  FROM (SELECT 1 AS place, 'database' AS of, format('%I', current_database()) AS object, {create_schema} AS rights,
      NULL AS schema WHERE NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = 'dewey_sync')
  UNION ALL SELECT 2, 'schema', format('%I', nspname), {use_schema}, NULL FROM pg_namespace n WHERE nspname = {schema}
  UNION ALL SELECT 3, 'ledger_schema', 'dewey_sync', {ledger_schema}, NULL FROM pg_namespace n WHERE nspname = 'dewey_sync'
  UNION ALL SELECT 4, 'ledger', {named}, {ledger}, NULL FROM {relations}
    WHERE nspname = 'dewey_sync' AND relname IN ({tables}) AND relkind = 'r'
  UNION ALL SELECT 5, 'ledger_sequence', {named}, {ledger_sequence}, NULL FROM {relations}
    JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.refclassid = 'pg_class'::regclass
      AND d.deptype = 'a' JOIN pg_class t ON t.oid = d.refobjid
    WHERE nspname = 'dewey_sync' AND c.relkind = 'S' AND t.relname IN ({tables})
  UNION ALL SELECT DISTINCT 6, 'ledger_owner', format('%I', pg_get_userbyid(relowner)), ARRAY['OWNER'], NULL FROM {relations}
    WHERE nspname = 'dewey_sync' AND relname IN ({tables}) AND relkind = 'r' AND NOT pg_has_role(relowner, 'USAGE')
  UNION ALL SELECT 7, 'books', {named}, {books}, NULL FROM {relations} WHERE c.oid = {book}.oid
  UNION ALL SELECT 8, 'users', {named}, {users}, NULL FROM {relations} WHERE c.oid = to_regclass('{owner_table}')
  UNION ALL SELECT 9, 'sequence', {named}, {sequence}, NULL FROM (
      SELECT {book}.ids AS oid, true AS is_raised
      UNION ALL SELECT d.refobjid, false FROM pg_attrdef f JOIN pg_depend d ON d.classid = 'pg_attrdef'::regclass
          AND d.objid = f.oid AND d.refclassid = 'pg_class'::regclass WHERE f.adrelid = {book}.oid) used
    JOIN {relations} ON c.oid = used.oid AND c.relkind = 'S' GROUP BY c.oid, c.relname, c.relkind, n.nspname
  UNION ALL SELECT DISTINCT 10, 'function', format('%I.%I(%s)', n.nspname, proname, pg_get_function_identity_arguments(p.oid)),
      {function}, NULL FROM pg_depend d JOIN pg_proc p ON d.refclassid = 'pg_proc'::regclass AND d.refobjid = p.oid
    JOIN pg_namespace n ON n.oid = pronamespace
    WHERE d.classid = 'pg_attrdef'::regclass AND d.objid IN (SELECT oid FROM pg_attrdef WHERE adrelid = {book}.oid)
      OR d.classid = 'pg_constraint'::regclass AND d.objid IN (SELECT oid FROM pg_constraint WHERE conrelid = {book}.oid)
      OR d.classid = 'pg_class'::regclass AND d.objid IN (SELECT indexrelid FROM pg_index WHERE indrelid = {book}.oid)
  UNION ALL SELECT 11, 'other', {named}, {other}, format('%I', nspname) FROM {relations}
    WHERE c.oid IN (SELECT conrelid FROM pg_constraint WHERE contype = 'f') AND nspname <> 'dewey_sync' AND c.oid <> {book}.oid
  UNION ALL SELECT 12, 'language', format('%I', lanname), {language}, NULL FROM pg_language WHERE lanname = 'plpgsql'
  ) object WHERE rights <> '{{}}')
