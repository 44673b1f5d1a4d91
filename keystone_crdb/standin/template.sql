-- SPDX-License-Identifier: Apache-2.0
-- What the stand-in adds to template1, and so to every database it makes.
--
-- Everything that depends on the catalogue or on the transaction is refused
-- here, by PostgreSQL itself, so that transactions abort, savepoints roll
-- back and pipelines skip as the protocol wants it.  An error raised with
-- the schema name "standin" already has its final text: the proxy does not
-- reword it.

CREATE SCHEMA standin;
CREATE SCHEMA crdb_internal;
GRANT USAGE ON SCHEMA standin, crdb_internal TO PUBLIC;
GRANT CREATE ON SCHEMA public TO PUBLIC;

CREATE OR REPLACE FUNCTION pg_catalog.version() RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT 'keystone-crdb stand-in (PostgreSQL '
        || split_part(current_setting('server_version'), ' ', 1) || ')'
$$;

CREATE PROCEDURE standin.refuse(
    code text, message text, detail text DEFAULT '', hint text DEFAULT ''
) LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = code, MESSAGE = message,
        DETAIL = detail, HINT = hint, SCHEMA = 'standin';
END
$$;

CREATE PROCEDURE standin.refuse_to_serialize(message text)
LANGUAGE plpgsql AS $$
BEGIN
    CALL standin.refuse('40001', message, hint =>
        'See: https://www.cockroachlabs.com/docs/v21.2/'
        'transaction-retry-error-reference.html');
END
$$;

CREATE FUNCTION crdb_internal.force_error(code text, message text)
RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    IF code = '40001' THEN
        CALL standin.refuse_to_serialize(message);
    END IF;
    CALL standin.refuse(code, message);
    RETURN 0;
END
$$;

CREATE FUNCTION crdb_internal.force_retry(lasting interval)
RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    IF clock_timestamp() < transaction_timestamp() + lasting THEN
        CALL standin.refuse_to_serialize(
            'restart transaction: crdb_internal.force_retry(): '
            'TransactionRetryWithProtoRefreshError: '
            'forced by crdb_internal.force_retry()');
    END IF;
    RETURN 0;
END
$$;

CREATE PROCEDURE standin.refuse_unimplemented(message text, issue int)
LANGUAGE plpgsql AS $$
BEGIN
    CALL standin.refuse('0A000', 'unimplemented: ' || message, hint =>
        'You have attempted to use a feature that is not yet implemented.'
        || format(E'\nSee: https://go.crdb.dev/issue-v/%s/v21.2', issue));
END
$$;

-- Schema changes.
--
-- The first one of a transaction must precede its writes.  A lock of a mode
-- that only a writing or row locking statement takes is the sign of one; it
-- is there even when the statement found no row.
CREATE FUNCTION standin.before_schema_change() RETURNS event_trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF coalesce(current_setting('standin.schema_changed', true), '') = ''
    THEN
        IF EXISTS (
            SELECT FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
            WHERE l.pid = pg_backend_pid() AND l.locktype = 'relation'
            AND l.mode IN ('RowShareLock', 'RowExclusiveLock')
            AND c.oid >= 16384 AND c.relkind IN ('r', 'p')
        ) THEN
            CALL standin.refuse_unimplemented(
                'the first schema change statement in a transaction '
                'must precede any writes', 26508);
        END IF;
        PERFORM set_config('standin.schema_changed', 'yes', true);
    END IF;
    IF tg_tag = 'ALTER TABLE' THEN
        PERFORM set_config('standin.unique_constraints', (
            SELECT coalesce(string_agg(oid::text, ','), '')
            FROM pg_constraint WHERE contype = 'u'
        ), true);
    END IF;
END
$$;

CREATE FUNCTION standin.after_drop() RETURNS event_trigger
LANGUAGE plpgsql AS $$
DECLARE
    uniques oid[] := string_to_array(
        current_setting('standin.unique_constraints', true), ',');
    dropped record;
BEGIN
    IF current_setting('standin.dropping_index', true) = 'yes' THEN
        RETURN;
    END IF;
    FOR dropped IN
        SELECT * FROM pg_event_trigger_dropped_objects()
        WHERE original AND object_type = 'table constraint'
        AND objid = ANY (uniques)
    LOOP
        CALL standin.refuse_unimplemented(format(
            'cannot drop UNIQUE constraint "%s" using '
            'ALTER TABLE DROP CONSTRAINT, use DROP INDEX CASCADE instead',
            dropped.address_names[3]), 42840);
    END LOOP;
END
$$;

CREATE EVENT TRIGGER standin_before_schema_change ON ddl_command_start
    EXECUTE FUNCTION standin.before_schema_change();
CREATE EVENT TRIGGER standin_after_drop ON sql_drop
    EXECUTE FUNCTION standin.after_drop();

-- DROP INDEX [IF EXISTS] [table@]index [CASCADE]; the names come as they
-- were written, quoted or not.
CREATE PROCEDURE standin.drop_index(
    table_name text, index_name text, missing_ok boolean, cascading boolean
) LANGUAGE plpgsql AS $$
DECLARE
    name_parts text[] := parse_ident(index_name);
    bare_name text := name_parts[array_length(name_parts, 1)];
    index_oid regclass;
    owner record;
BEGIN
    IF table_name IS NULL THEN
        index_oid := to_regclass(index_name);
    ELSE
        SELECT i.indexrelid INTO index_oid
        FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
        WHERE i.indrelid = to_regclass(table_name)
        AND c.relname = bare_name;
    END IF;
    IF index_oid IS NULL THEN
        IF NOT missing_ok THEN
            CALL standin.refuse(
                '42704', format('index "%s" does not exist', bare_name));
        END IF;
        RETURN;
    END IF;
    SELECT conrelid::regclass AS relation, conname INTO owner
    FROM pg_constraint WHERE conindid = index_oid AND contype = 'u';
    IF NOT FOUND THEN
        EXECUTE format('DROP INDEX %s %s', index_oid,
            CASE WHEN cascading THEN 'CASCADE' END);
    ELSIF cascading THEN
        PERFORM set_config('standin.dropping_index', 'yes', true);
        EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I CASCADE',
            owner.relation, owner.conname);
        PERFORM set_config('standin.dropping_index', '', true);
    ELSE
        CALL standin.refuse('2BP01',
            format('index "%s" is in use as unique constraint', bare_name),
            hint => 'use CASCADE if you really want to drop it.');
    END IF;
END
$$;

-- Reflection: three columns that PostgreSQL's own view does not have.
CREATE FUNCTION standin.sql_type(type_text text) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE
        WHEN base = 'character varying' THEN 'VARCHAR'
        WHEN base = 'character' THEN 'CHAR'
        WHEN base = 'text' THEN 'STRING'
        WHEN base = 'bytea' THEN 'BYTES'
        WHEN base = 'boolean' THEN 'BOOL'
        WHEN base = 'smallint' THEN 'INT2'
        WHEN base = 'integer' THEN 'INT4'
        WHEN base = 'bigint' THEN 'INT8'
        WHEN base = 'real' THEN 'FLOAT4'
        WHEN base = 'double precision' THEN 'FLOAT8'
        WHEN base = 'numeric' THEN 'DECIMAL'
        WHEN base = 'json' THEN 'JSONB'
        WHEN base ~ '^timestamp.* without' THEN 'TIMESTAMP'
        WHEN base ~ '^timestamp.* with ' THEN 'TIMESTAMPTZ'
        ELSE upper(base)
    END || coalesce(substring(type_text FROM '\([0-9,]*\)'), '')
        || coalesce(substring(type_text FROM '(\[\])+$'), '')
    FROM regexp_replace(type_text, '\([0-9,]*\)|(\[\])+$', '', 'g') AS base
$$;

ALTER VIEW information_schema.columns RENAME TO columns_of_postgresql;
CREATE VIEW information_schema.columns AS
    SELECT c.*,
        'NO'::information_schema.yes_or_no AS is_hidden,
        standin.sql_type(format_type(a.atttypid, a.atttypmod))
            AS crdb_sql_type,
        col_description(a.attrelid, a.attnum) AS column_comment
    FROM information_schema.columns_of_postgresql c
    JOIN pg_namespace n ON n.nspname = c.table_schema
    JOIN pg_class r ON r.relnamespace = n.oid AND r.relname = c.table_name
    JOIN pg_attribute a
        ON a.attrelid = r.oid AND a.attnum = c.ordinal_position
    ORDER BY c.table_schema, c.table_name, c.ordinal_position;
GRANT SELECT ON information_schema.columns TO PUBLIC;
