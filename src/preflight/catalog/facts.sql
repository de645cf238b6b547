SELECT json_build_object(
 'version', current_setting('server_version'),
 'version_num', current_setting('server_version_num')::int,
 'encoding', getdatabaseencoding(),
 'in_recovery', pg_is_in_recovery(),
 'tls', (SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()),
 'identity', json_build_object(
   'system_identifier', coalesce(book.cluster, ''),
   'database_oid', (SELECT oid::bigint FROM pg_database WHERE datname = current_database())),
 'identity_readable', book.cluster IS NOT NULL,
 'ledger', ledger.oid IS NOT NULL,
 'ledger_readable', coalesce(has_schema_privilege(ledger.relnamespace, 'USAGE')
   AND has_table_privilege(ledger.oid, 'SELECT'), false),
 'columns', (SELECT json_agg(json_build_object('name', attname, 'type', format_type(atttypid, atttypmod),
     'not_null', attnotnull OR book.is_view, 'filled', atthasdef OR attidentity <> '', 'generated', attgenerated <> '',
     'labels', (SELECT json_agg(enumlabel ORDER BY enumsortorder) FROM pg_enum WHERE enumtypid = atttypid)) ORDER BY attnum)
   FROM pg_attribute WHERE attrelid = book.oid AND attnum > 0 AND NOT attisdropped),
 'table', {table},
 'unique_keys', (SELECT json_agg((SELECT json_agg(attname ORDER BY attnum) FROM pg_attribute
     WHERE attrelid = indrelid AND attnum = ANY ((indkey::int2[])[0:indnkeyatts - 1])))
   FROM pg_index WHERE indrelid = book.oid AND indisunique AND indisvalid AND indpred IS NULL AND indexprs IS NULL),
 'can_write', has_table_privilege(book.oid, 'DELETE, TRUNCATE') OR has_any_column_privilege(book.oid, 'INSERT, UPDATE'),
 'role', format('%I', current_user),
 'policed', (SELECT json_agg(json_build_object('table', format('%I.%I', n.nspname, relname),
     'holds', CASE c.oid WHEN book.oid THEN 'books' WHEN book.users THEN 'users' ELSE 'others' END)
     ORDER BY n.nspname, relname)
   FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE relrowsecurity AND row_security_active(c.oid)),
 'rights', {rights},
 'ids_left', {ids_left},
 'users', book.users IS NOT NULL,
 'users_readable', EXISTS (SELECT FROM pg_class c WHERE c.oid = book.users AND relkind IN ('r', 'p')
   AND has_table_privilege(c.oid, 'SELECT')),
 'now', to_char(now(), 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
 'address', host(inet_server_addr()),
 'lock_was_free', {lock},
 'foreign_keys', {foreign_keys},
 'track_counts', current_setting('track_counts') = 'on',
 'triggers', {triggers},
 'settings', {settings}
 )::text
FROM (SELECT named.*, coalesce(relkind NOT IN ('r', 'p'), false) AS is_view, {sequence} AS ids
  FROM (SELECT {book} AS oid, {user} AS users, {system_identifier} AS cluster OFFSET 0) named LEFT JOIN pg_class USING (oid)
  OFFSET 0) book LEFT JOIN (SELECT c.oid, c.relnamespace FROM pg_class c
  JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'dewey_sync' AND c.relname = 'identity') ledger ON true
