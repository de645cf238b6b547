-- Gives roles the passwords that they have, hashed once where PostgreSQL hashes 4,096 times: whoever connects does the same
-- again, which would be most of what the tests compute. The functions are RFC 2104's and RFC 5802's.
CREATE FUNCTION pg_temp.hmac(key bytea, message bytea) RETURNS bytea LANGUAGE sql AS $$
  SELECT sha256(outer_pad || sha256(inner_pad || message))
  FROM (SELECT string_agg(set_byte('\x00', 0, get_byte(padded, n) # 54), '' ORDER BY n) AS inner_pad,
          string_agg(set_byte('\x00', 0, get_byte(padded, n) # 92), '' ORDER BY n) AS outer_pad
        FROM (SELECT key || decode(repeat('00', 64 - length(key)), 'hex') AS padded) p, generate_series(0, 63) n) pads
$$;
CREATE FUNCTION pg_temp.verifier(password text) RETURNS text LANGUAGE sql AS $$
  SELECT format('SCRAM-SHA-256$1:%s$%s:%s', encode(salt, 'base64'),
      encode(sha256(pg_temp.hmac(salted, 'Client Key')), 'base64'), encode(pg_temp.hmac(salted, 'Server Key'), 'base64'))
  FROM (SELECT salt, pg_temp.hmac(convert_to(password, 'UTF8'), salt || '\x00000001') AS salted
        FROM (SELECT decode(md5(password), 'hex') AS salt) s) p
$$;
