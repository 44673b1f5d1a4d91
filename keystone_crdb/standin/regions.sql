-- SPDX-License-Identifier: Apache-2.0
-- The regions of a database, as rows: nothing is moved anywhere.
--
-- The cluster pretends to have nodes in three regions.  A client that is to
-- be in another one than the first sets standin.region.  The texts of the
-- errors are from CockroachDB's source and documents, and were not recorded.

CREATE TABLE standin.cluster_regions (region text PRIMARY KEY, zones text[]);
INSERT INTO standin.cluster_regions VALUES
    ('ap', '{a,b,c}'), ('eu', '{a,b,c}'), ('us', '{a,b,c}');
CREATE TABLE standin.regions (
    region text PRIMARY KEY, "primary" boolean NOT NULL, secondary boolean
);
CREATE TABLE standin.survival (survival_goal text PRIMARY KEY);
CREATE TABLE standin.localities (
    relation regclass PRIMARY KEY, locality text NOT NULL
);
GRANT SELECT ON ALL TABLES IN SCHEMA standin TO PUBLIC;

CREATE FUNCTION pg_catalog.gateway_region() RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT coalesce(
        nullif(current_setting('standin.region', true), ''), 'eu')
$$;

CREATE VIEW standin.tables AS
    SELECT schemaname::text AS schema_name, tablename::text AS table_name,
        'table'::text AS type, tableowner::text AS owner,
        NULL::bigint AS estimated_row_count,
        CASE WHEN EXISTS (SELECT FROM standin.regions) THEN coalesce((
            SELECT locality FROM standin.localities
            WHERE relation =
                format('%I.%I', schemaname, tablename)::regclass
        ), 'REGIONAL BY TABLE IN PRIMARY REGION') END AS locality
    FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename;
GRANT SELECT ON standin.tables TO PUBLIC;

CREATE PROCEDURE standin.refuse_absent_region(name text)
LANGUAGE plpgsql AS $$
DECLARE
    known text[] := ARRAY(SELECT region FROM standin.cluster_regions);
BEGIN
    IF name <> ALL (known) THEN
        CALL standin.refuse('42602', format('region "%s" does not exist', name),
            hint => 'valid regions: ' || array_to_string(known, ', '));
    END IF;
END
$$;

CREATE PROCEDURE standin.set_primary_region(name text)
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    CALL standin.refuse_absent_region(name);
    IF NOT EXISTS (SELECT FROM standin.regions) THEN
        INSERT INTO standin.survival VALUES ('zone');
        INSERT INTO standin.regions VALUES (name, true, false);
    ELSIF NOT EXISTS (SELECT FROM standin.regions WHERE region = name) THEN
        CALL standin.refuse('42P12',
            format('region %s has not been added to the database', name),
            hint => 'you must add the region to the database before setting '
                'it as primary region, using ALTER DATABASE ... ADD REGION');
    END IF;
    UPDATE standin.regions SET "primary" = (region = name);
END
$$;

CREATE PROCEDURE standin.add_region(name text)
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    CALL standin.refuse_absent_region(name);
    IF NOT EXISTS (SELECT FROM standin.regions) THEN
        CALL standin.refuse('42P12',
            format('cannot add region %s to database', name), hint =>
            'you must add a PRIMARY REGION first using ALTER DATABASE');
    ELSIF EXISTS (SELECT FROM standin.regions WHERE region = name) THEN
        CALL standin.refuse('42710',
            format('region "%s" already added to database', name));
    END IF;
    INSERT INTO standin.regions VALUES (name, false, false);
END
$$;

CREATE PROCEDURE standin.drop_region(name text)
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    count int := (SELECT count(*) FROM standin.regions);
BEGIN
    IF NOT EXISTS (SELECT FROM standin.regions WHERE region = name) THEN
        CALL standin.refuse('42704',
            format('region "%s" has not been added to database', name));
    ELSIF count > 1 AND EXISTS (
        SELECT FROM standin.regions WHERE region = name AND "primary"
    ) THEN
        CALL standin.refuse('42P12', format('cannot drop region "%s"', name),
            hint => 'You must designate another region as the primary region '
                'or remove all other regions before attempting to drop it');
    ELSIF count <= 3 AND EXISTS (
        SELECT FROM standin.survival WHERE survival_goal = 'region'
    ) THEN
        CALL standin.refuse('22023',
            'at least 3 regions are required for surviving a region failure');
    END IF;
    DELETE FROM standin.regions WHERE region = name;
    IF count = 1 THEN
        DELETE FROM standin.survival;
        DELETE FROM standin.localities;
    END IF;
END
$$;

CREATE PROCEDURE standin.survive(goal text)
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    count int := (SELECT count(*) FROM standin.regions);
BEGIN
    IF count = 0 THEN
        CALL standin.refuse('42P12', 'database must have associated regions '
            'before a survival goal can be set');
    ELSIF goal = 'region' AND count < 3 THEN
        CALL standin.refuse('22023',
            'at least 3 regions are required for surviving a region failure');
    END IF;
    UPDATE standin.survival SET survival_goal = goal;
END
$$;

CREATE PROCEDURE standin.set_locality(name text, new text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM standin.regions) THEN
        CALL standin.refuse('42P16', 'cannot alter a table''s LOCALITY if its '
            'database is not multi-region enabled');
    END IF;
    INSERT INTO standin.localities VALUES (name::regclass, new)
    ON CONFLICT (relation) DO UPDATE SET locality = new;
END
$$;
