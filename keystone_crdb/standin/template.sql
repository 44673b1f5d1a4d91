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
        format('See: https://www.cockroachlabs.com/docs/v%s/'
            'transaction-retry-error-reference.html',
            current_setting('standin.release')));
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

CREATE PROCEDURE standin.refuse_unimplemented(
    message text, issue int, subject text DEFAULT ''
) LANGUAGE plpgsql AS $$
BEGIN
    CALL standin.refuse('0A000', subject || 'unimplemented: ' || message, '',
        'You have attempted to use a feature that is not yet implemented.'
        || format(E'\nSee: https://go.crdb.dev/issue-v/%s/v%s',
            issue, current_setting('standin.release')));
END
$$;

-- What the release that is imitated has; the settings are of releases.py.
CREATE FUNCTION standin.has(name text) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT coalesce(nullif(
        current_setting('standin.' || name, true), '')::boolean, false)
$$;

-- Tables that are schema_locked.
CREATE TABLE standin.locked_tables (relation oid PRIMARY KEY);
GRANT ALL ON standin.locked_tables TO PUBLIC;

CREATE PROCEDURE standin.lock_schema(table_name text, value text)
LANGUAGE plpgsql AS $$
BEGIN
    IF standin.has('in_transaction') THEN
        CALL standin.refuse('22023',
            '"schema_locked" can only be set/reset on its own without other '
            'parameters in a single-statement implicit transaction.');
    END IF;
    IF value::boolean THEN
        INSERT INTO standin.locked_tables
            VALUES (table_name::regclass) ON CONFLICT DO NOTHING;
    ELSE
        DELETE FROM standin.locked_tables
            WHERE relation = table_name::regclass;
    END IF;
END
$$;

CREATE PROCEDURE standin.refuse_if_locked(changed oid)
LANGUAGE plpgsql AS $$
DECLARE
    name text := (SELECT relname FROM pg_class WHERE oid = changed);
BEGIN
    IF NOT EXISTS (
        SELECT FROM standin.locked_tables WHERE relation = changed)
    THEN
        RETURN;
    END IF;
    IF NOT standin.has('unlocks_tables') THEN
        CALL standin.refuse('57000', format(
            'schema changes are disallowed on table "%s" because it is '
            'locked', name));
    ELSIF standin.has('in_transaction') THEN
        CALL standin.refuse('57000', format(
            'this schema change is disallowed because table "%s" is locked '
            'and this operation cannot automatically unlock the table', name),
            format(E'To unlock the table, execute `ALTER TABLE %1$s SET '
            '(schema_locked = false);`\nAfter the schema change completes, '
            'we recommend setting it back to true with `ALTER TABLE %1$s SET '
            '(schema_locked = true);`', name));
    END IF;
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
    IF standin.has('in_transaction')
        AND current_setting('transaction_isolation') <> 'serializable'
    THEN
        CALL standin.refuse('0A000',
            'multi-statement transaction involving a schema change needs '
            'to be SERIALIZABLE');
    END IF;
    IF coalesce(current_setting('standin.schema_changed', true), '') = ''
    THEN
        IF EXISTS (
            SELECT FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
            WHERE l.pid = pg_backend_pid() AND l.locktype = 'relation'
            AND l.mode IN ('RowShareLock', 'RowExclusiveLock')
            AND c.oid >= 16384 AND c.relkind IN ('r', 'p')
            AND c.relnamespace <> 'standin'::regnamespace
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
        PERFORM set_config('standin.primary_keys', (
            SELECT coalesce(string_agg(oid::text, ','), '')
            FROM pg_constraint WHERE contype = 'p'
        ), true);
    END IF;
END
$$;

-- Tables whose primary key was dropped. At the commit each has to have another
-- one, or to be dropped as well.
CREATE TABLE standin.dropped_keys (relation oid);
GRANT ALL ON standin.dropped_keys TO PUBLIC;

CREATE FUNCTION standin.refuse_without_key() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    name text := (
        SELECT relname FROM pg_class WHERE oid = new.relation
        AND NOT EXISTS (
            SELECT FROM pg_constraint
            WHERE conrelid = new.relation AND contype = 'p')
    );
BEGIN
    IF name IS NOT NULL THEN
        CALL standin.refuse_unimplemented(
            'primary key dropped without subsequent addition of new primary '
            'key in same transaction', 48026,
            format('relation "%s" (%s): ', name, new.relation));
    END IF;
    RETURN NULL;
END
$$;

CREATE CONSTRAINT TRIGGER refuse_without_key
    AFTER INSERT ON standin.dropped_keys DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION standin.refuse_without_key();

CREATE FUNCTION standin.after_schema_change() RETURNS event_trigger
LANGUAGE plpgsql AS $$
DECLARE
    changed record;
    owner oid;
BEGIN
    FOR changed IN SELECT * FROM pg_event_trigger_ddl_commands()
    LOOP
        IF changed.command_tag = 'ALTER TABLE' THEN
            CALL standin.refuse_if_locked(changed.objid);
        ELSIF changed.command_tag = 'CREATE INDEX' THEN
            SELECT indrelid INTO owner FROM pg_index
            WHERE indexrelid = changed.objid;
            CALL standin.refuse_if_locked(owner);
        ELSIF changed.command_tag = 'CREATE TABLE'
            AND changed.object_type = 'table'
            AND standin.has('create_table_with_schema_locked')
            AND NOT standin.has('in_transaction')
            AND changed.schema_name <> 'pg_temp'
        THEN
            INSERT INTO standin.locked_tables
                VALUES (changed.objid) ON CONFLICT DO NOTHING;
        END IF;
    END LOOP;
END
$$;

CREATE FUNCTION standin.after_drop() RETURNS event_trigger
LANGUAGE plpgsql AS $$
DECLARE
    uniques oid[] := string_to_array(
        current_setting('standin.unique_constraints', true), ',');
    keys oid[] := string_to_array(
        current_setting('standin.primary_keys', true), ',');
    dropped record;
BEGIN
    INSERT INTO standin.dropped_keys
        SELECT to_regclass(format('%I.%I', address_names[1], address_names[2]))
        FROM pg_event_trigger_dropped_objects()
        WHERE original AND object_type = 'table constraint'
        AND objid = ANY (keys);
    IF current_setting('standin.dropping_index', true) = 'yes'
        OR standin.has('drops_unique_constraints')
    THEN
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
CREATE EVENT TRIGGER standin_after_schema_change ON ddl_command_end
    EXECUTE FUNCTION standin.after_schema_change();
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

CREATE FUNCTION standin.cluster_setting(name text) RETURNS text
LANGUAGE plpgsql AS $$
BEGIN
    IF NOT pg_has_role(current_user, 'root', 'MEMBER') THEN
        CALL standin.refuse('42501', format(
            'only users with MODIFYCLUSTERSETTING, MODIFYSQLCLUSTERSETTING or '
            'VIEWCLUSTERSETTING privileges are allowed to show cluster '
            'setting %L', name));
    END IF;
    CASE name
    WHEN 'version' THEN
        RETURN current_setting('standin.release');
    WHEN 'enterprise.license' THEN
        RETURN '';
    ELSE
        CALL standin.refuse('42704', format('unknown setting: "%s"', name));
    END CASE;
    RETURN NULL;
END
$$;

CREATE FUNCTION standin.show_create_table(
    named text, OUT table_name text, OUT create_statement text
) LANGUAGE sql STABLE AS $$
    SELECT named, format(E'CREATE TABLE %s.%I (\n%s\n)%s',
        c.relnamespace::regnamespace, c.relname, (
            SELECT string_agg(format(E'\t%I %s %s', attname,
                standin.sql_type(format_type(atttypid, atttypmod)),
                CASE WHEN attnotnull THEN 'NOT NULL' ELSE 'NULL' END),
                E',\n' ORDER BY attnum)
            FROM pg_attribute
            WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped
        ),
        CASE WHEN EXISTS (
            SELECT FROM standin.locked_tables WHERE relation = c.oid
        ) THEN ' WITH (schema_locked = true)' ELSE '' END || ';')
    FROM pg_class c WHERE c.oid = named::regclass
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
