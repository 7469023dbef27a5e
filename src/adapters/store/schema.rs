//! The tables, version by version. Migrations go forward only, and one that was released is never edited.

use rusqlite_migration::{M, Migrations};

/// Each entry takes the database to the next version. Times are RFC 3339 in UTC; enumerations are the API's own words.
const STEPS: &[M<'static>] = &[
    M::up(
        "CREATE TABLE jobs (
        id          TEXT NOT NULL PRIMARY KEY,  -- a ULID: sorts by start
        kind        TEXT NOT NULL,
        target_kind TEXT NOT NULL,              -- app, container, group, all
        target      TEXT NOT NULL,
        state       TEXT NOT NULL,
        step        TEXT,
        outcome     TEXT,
        result      TEXT,                       -- JSON
        error       TEXT,                       -- JSON
        started_at  TEXT NOT NULL,
        finished_at TEXT,
        journal     TEXT                        -- JSON; kept after the end, for a later rollback
     ) STRICT;
     CREATE INDEX jobs_by_target ON jobs (target_kind, target, id);
     CREATE INDEX jobs_unfinished ON jobs (id) WHERE state <> 'finished';

     CREATE TABLE app_references (
        app       TEXT NOT NULL,
        reference TEXT NOT NULL,
        PRIMARY KEY (app, reference)
     ) STRICT, WITHOUT ROWID;

     CREATE TABLE bad_images (
        app       TEXT NOT NULL,
        service   TEXT NOT NULL,
        image_id  TEXT NOT NULL,
        reference TEXT NOT NULL,
        digests   TEXT NOT NULL,                -- JSON array
        job       TEXT NOT NULL,
        since     TEXT NOT NULL,
        PRIMARY KEY (app, service, image_id)
     ) STRICT, WITHOUT ROWID;",
    ),
    M::up(
        "CREATE TABLE remote_digests (
            reference  TEXT NOT NULL PRIMARY KEY,   -- canonical
            digest     TEXT NOT NULL,
            first_seen TEXT NOT NULL,               -- when the registry was first seen to have this digest
            checked_at TEXT NOT NULL
         ) STRICT, WITHOUT ROWID;

         CREATE TABLE toggles (
            target_kind TEXT NOT NULL,
            target      TEXT NOT NULL,
            policy      TEXT NOT NULL,
            PRIMARY KEY (target_kind, target)
         ) STRICT, WITHOUT ROWID;

         CREATE TABLE passwords (
            user TEXT NOT NULL PRIMARY KEY,
            hash TEXT NOT NULL                      -- argon2id, in its own notation
         ) STRICT, WITHOUT ROWID;

         CREATE TABLE sessions (
            token   TEXT NOT NULL PRIMARY KEY,      -- SHA-256 of the cookie
            user    TEXT NOT NULL,
            expires TEXT NOT NULL
         ) STRICT, WITHOUT ROWID;",
    ),
    M::up(
        "CREATE TABLE skips (
            app     TEXT NOT NULL,
            service TEXT NOT NULL,
            digest  TEXT NOT NULL,                  -- what the registry had; another ends the skip
            since   TEXT NOT NULL,
            PRIMARY KEY (app, service)
         ) STRICT, WITHOUT ROWID;

         CREATE TABLE schedules (
            app      TEXT NOT NULL PRIMARY KEY,     -- empty: the service's own
            cron     TEXT NOT NULL,
            timezone TEXT NOT NULL,
            next     TEXT NOT NULL
         ) STRICT, WITHOUT ROWID;",
    ),
    M::up("ALTER TABLE jobs ADD COLUMN by TEXT"),
    M::up(
        "CREATE TABLE notices (
            id       TEXT NOT NULL PRIMARY KEY,     -- a ULID: sorts by when it happened
            receiver TEXT NOT NULL,                 -- by its name in the configuration
            notice   TEXT NOT NULL,                 -- JSON
            since    TEXT NOT NULL,
            tries    INTEGER NOT NULL,
            next     INTEGER NOT NULL               -- seconds since 1970: not to be tried before
         ) STRICT, WITHOUT ROWID;

         CREATE TABLE announced (
            target_kind TEXT NOT NULL,
            target      TEXT NOT NULL,
            service     TEXT NOT NULL,
            digest      TEXT NOT NULL,              -- what the registry had when people were told
            PRIMARY KEY (target_kind, target, service)
         ) STRICT, WITHOUT ROWID;",
    ),
    M::up(
        "CREATE TABLE moved_back (
            reference TEXT NOT NULL PRIMARY KEY,    -- canonical
            image_id  TEXT NOT NULL                 -- what a rollback made it mean; counts while it still does
         ) STRICT, WITHOUT ROWID;

         ALTER TABLE bad_images ADD COLUMN cause TEXT NOT NULL DEFAULT 'failed';
         ALTER TABLE bad_images ADD COLUMN config TEXT;  -- hash of the set-up that it failed with",
    ),
    M::up(
        "CREATE TABLE attempts (
            job      TEXT NOT NULL PRIMARY KEY,
            host     TEXT NOT NULL,
            format   INTEGER NOT NULL,              -- selects the reader of facts and why
            facts    TEXT NOT NULL,                 -- JSON, written once, kept for a rollback
            stage    TEXT NOT NULL,
            exposed  INTEGER NOT NULL,              -- New has been started
            deaths   INTEGER NOT NULL,              -- processes that ended while they worked on it
            why      TEXT,                          -- JSON: the setback that turned it back
            worker   TEXT,                          -- the process that works on it
            blocked  TEXT,                          -- what it waits for
            made_old TEXT,                          -- IDs of containers that it has made
            made_new TEXT,
            recipe   TEXT                           -- JSON: how to make a container again; may be secret, NULL once closed
         ) STRICT, WITHOUT ROWID;

         CREATE TABLE attempt_steps (
            job    TEXT NOT NULL,
            n      INTEGER NOT NULL,
            action TEXT NOT NULL,
            begun  TEXT NOT NULL,
            ended  TEXT,
            PRIMARY KEY (job, n)
         ) STRICT;",
    ),
    M::up(
        "ALTER TABLE jobs ADD COLUMN answer INTEGER NOT NULL DEFAULT 0;  -- 1: no part of the history, forgotten soon
         UPDATE jobs SET answer = 1 WHERE state = 'finished' AND (kind = 'check' OR
            outcome = 'failed' AND result IS NULL AND journal IS NULL
            AND coalesce(step, 'resolve') IN ('resolve', 'snapshot', 'pull', 'plan')
            AND (json_extract(error, '$.status') BETWEEN 400 AND 499 OR json_extract(error, '$.status') = 503));
         -- In the order in which jobs were written down: an index ends with the rowid.
         DROP INDEX jobs_by_target;
         CREATE INDEX jobs_by_target ON jobs (target_kind, target);
         DROP INDEX jobs_unfinished;
         CREATE INDEX jobs_unfinished ON jobs (state) WHERE state <> 'finished';",
    ),
    M::up(
        "CREATE TABLE failed_checks (
            reference TEXT NOT NULL PRIMARY KEY,    -- canonical
            reason    TEXT NOT NULL,                -- why the last question got no answer; a good one takes it away
            asked_at  TEXT NOT NULL
         ) STRICT, WITHOUT ROWID;",
    ),
    M::up(
        "CREATE TABLE projects (
            app         TEXT NOT NULL,
            profiles    TEXT NOT NULL,              -- JSON array
            files       TEXT NOT NULL,              -- JSON; the state of the files it was read from
            project     TEXT,                       -- JSON, without the values of variables; NULL: broken
            config      TEXT,                       -- hash of all that Compose said
            error       TEXT,                       -- why it is broken
            program     TEXT NOT NULL,              -- the version of Restock that wrote it
            resolved_at TEXT NOT NULL,
            PRIMARY KEY (app, profiles)
         ) STRICT, WITHOUT ROWID;",
    ),
    // What has a name has its host in the name's text form (`web@nas`, on the local one `web`), in every column that holds
    // such a name. These two tables have a column: a reference has no such form, and projects are replaced host by host.
    M::up(
        "ALTER TABLE moved_back RENAME TO moved_back_here;
         CREATE TABLE moved_back (
            host      TEXT NOT NULL,
            reference TEXT NOT NULL,                -- canonical
            image_id  TEXT NOT NULL,                -- what a rollback made it mean; counts while it still does
            PRIMARY KEY (host, reference)
         ) STRICT, WITHOUT ROWID;
         INSERT INTO moved_back SELECT 'local', reference, image_id FROM moved_back_here;
         DROP TABLE moved_back_here;

         ALTER TABLE projects RENAME TO projects_here;
         CREATE TABLE projects (
            host        TEXT NOT NULL,
            app         TEXT NOT NULL,              -- its name on the host
            profiles    TEXT NOT NULL,              -- JSON array
            files       TEXT NOT NULL,              -- JSON; the state of the files it was read from
            project     TEXT,                       -- JSON, without the values of variables; NULL: broken
            config      TEXT,                       -- hash of all that Compose said
            error       TEXT,                       -- why it is broken
            program     TEXT NOT NULL,              -- the version of Restock that wrote it
            resolved_at TEXT NOT NULL,
            PRIMARY KEY (host, app, profiles)
         ) STRICT, WITHOUT ROWID;
         INSERT INTO projects
            SELECT 'local', app, profiles, files, project, config, error, program, resolved_at FROM projects_here;
         DROP TABLE projects_here;",
    ),
    M::up("ALTER TABLE jobs ADD COLUMN request_id TEXT"),
    M::up(
        "CREATE TABLE image_details (
            digest   TEXT NOT NULL,                 -- what the registry has for a reference
            platform TEXT NOT NULL,
            version  TEXT,                          -- the image's own words from here on, NULL where it says nothing
            created  TEXT,
            size     INTEGER,                       -- compressed bytes of its layers
            url      TEXT,
            PRIMARY KEY (digest, platform)
         ) STRICT, WITHOUT ROWID;",
    ),
];

/// All migrations, oldest first.
pub(super) const MIGRATIONS: Migrations<'static> = Migrations::from_slice(STEPS);

/// The version this program brings a database to, and the newest it can work with.
pub(super) const VERSION: i64 = STEPS.len() as i64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_migrations_are_sound() {
        MIGRATIONS.validate().unwrap();
    }
}
