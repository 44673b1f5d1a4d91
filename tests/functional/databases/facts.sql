-- SPDX-License-Identifier: Apache-2.0
-- The tables that the statements in the recorded observations are about,
-- inferred from those statements and from their errors.

CREATE TYPE mood AS ENUM ('sad', 'happy');
CREATE TABLE enumt (id INT PRIMARY KEY, m mood);

CREATE TABLE t1 (id INT PRIMARY KEY, email VARCHAR UNIQUE, n INT);
INSERT INTO t1 VALUES (1, 'a@b.c', 1), (2, 'd@e.f', 2);

CREATE TABLE users (
    id VARCHAR(64) PRIMARY KEY, name VARCHAR(255), domain_id VARCHAR(64),
    CONSTRAINT uniq_users0name0domain_id UNIQUE (name, domain_id)
);
INSERT INTO users VALUES
    ('u1', 'alice', 'default'),
    ('w1', 'x) already exists.', 'd'), ('w2', E'a\\b', 'd'), ('w3', '', 'd'),
    ('w4', 'f(x)=(1)', 'd'), ('w5', E'a\tb', 'd'), ('w6', 'a''''b', 'd');

CREATE TABLE local_user (
    id SERIAL PRIMARY KEY, user_id VARCHAR, domain_id VARCHAR, name VARCHAR,
    UNIQUE (domain_id, name)
);
INSERT INTO local_user (user_id, domain_id, name)
    VALUES ('u1', 'default', 'alice');

CREATE TABLE grant2 (
    actor_id VARCHAR, role_id VARCHAR, PRIMARY KEY (actor_id, role_id)
);
INSERT INTO grant2 VALUES ('a1', 'r1');

CREATE TABLE "Odd Table" (
    "Odd Col" VARCHAR, CONSTRAINT "Odd Uniq" UNIQUE ("Odd Col")
);
INSERT INTO "Odd Table" VALUES ('v');

CREATE TABLE trust (
    id VARCHAR PRIMARY KEY, trustor_user_id VARCHAR, trustee_user_id VARCHAR,
    project_id VARCHAR, impersonation BOOLEAN, expires_at TIMESTAMP,
    CONSTRAINT duplicate_trust_constraint UNIQUE (
        trustor_user_id, trustee_user_id, project_id, impersonation,
        expires_at
    )
);
INSERT INTO trust VALUES
    ('t1', 'u1', 'u2', 'p1', true, '2026-01-02 03:04:05');

CREATE TABLE types (
    i INT, b BOOLEAN, ts TIMESTAMP UNIQUE, tz TIMESTAMPTZ UNIQUE,
    d DATE UNIQUE, n DECIMAL UNIQUE, f DOUBLE PRECISION UNIQUE,
    u UUID UNIQUE, UNIQUE (i, b)
);
INSERT INTO types VALUES (
    1, true, '2026-01-02 03:04:05', '2026-01-02 03:04:05+00', '2026-01-02',
    1.50, 1.5, '11111111-2222-3333-4444-555555555555'
);

CREATE TABLE uix (id INT PRIMARY KEY, code VARCHAR);
CREATE UNIQUE INDEX ix_uix_code ON uix (code);
INSERT INTO uix VALUES (1, 'x');
CREATE TABLE uq (id INT PRIMARY KEY, name VARCHAR UNIQUE);

CREATE TABLE bf (id INT PRIMARY KEY, v VARCHAR, w VARCHAR);
INSERT INTO bf VALUES (1, 's', 's'), (2, 's', 's');

CREATE TABLE parent (
    id VARCHAR PRIMARY KEY, a INT, b INT, UNIQUE (a, b)
);
CREATE TABLE child (
    id INT PRIMARY KEY,
    parent_id VARCHAR CONSTRAINT fk_child_parent REFERENCES parent (id),
    a INT, b INT,
    CONSTRAINT fk_child_ab FOREIGN KEY (a, b) REFERENCES parent (a, b)
);
CREATE TABLE child_full (
    id INT PRIMARY KEY, a INT, b INT,
    CONSTRAINT fk_full FOREIGN KEY (a, b) REFERENCES parent (a, b) MATCH FULL
);
INSERT INTO parent VALUES ('p1', 1, 2);
INSERT INTO child VALUES (1, 'p1', NULL, NULL);
CREATE TABLE fkbad (pid VARCHAR, id INT);
INSERT INTO fkbad VALUES ('nope', 1);

CREATE TABLE "user" (id VARCHAR PRIMARY KEY);
CREATE TABLE user_ref (
    id INT PRIMARY KEY,
    user_id VARCHAR CONSTRAINT fk_user_id_ref_user REFERENCES "user" (id)
);
INSERT INTO "user" VALUES ('u1');
INSERT INTO user_ref VALUES (1, 'u1');

CREATE TABLE project (
    id VARCHAR PRIMARY KEY,
    parent_id VARCHAR
        CONSTRAINT fk_parent_id_ref_project REFERENCES project (id)
);
INSERT INTO project VALUES ('root', NULL), ('leaf', 'root');

CREATE TABLE chk (
    id INT PRIMARY KEY,
    n BIGINT CONSTRAINT check_n CHECK (n > 0),
    m INT CONSTRAINT m_positive CHECK (m > 0),
    s VARCHAR(5), sm SMALLINT, i4 INT4, dec DECIMAL(4, 2)
);
INSERT INTO chk (id, n, m) VALUES (1, 1, 1);

CREATE TABLE nntab (id INT PRIMARY KEY, name VARCHAR NOT NULL);
INSERT INTO nntab VALUES (1, 'x');
CREATE TABLE nn2 (id INT PRIMARY KEY, v INT);
INSERT INTO nn2 VALUES (1, NULL);
CREATE TABLE namedpk (id INT PRIMARY KEY);

CREATE TABLE kv (k INT PRIMARY KEY, v INT);
INSERT INTO kv SELECT k, 0 FROM generate_series(0, 99) AS k;

CREATE TABLE d1 (a INT PRIMARY KEY);
CREATE TABLE d5 (a INT PRIMARY KEY, r INT);
INSERT INTO d5 VALUES (1, 1);
CREATE TABLE d6 (a INT PRIMARY KEY, r INT);
CREATE INDEX d6_r ON d6 (r);
