//! One connection type over both backends, and how connections are made: by the scheme of the address, with the cause
//! of a failure kept.

use diesel::connection::SimpleConnection;
use diesel::r2d2::{ManageConnection, R2D2Connection};
use diesel::{Connection, PgConnection, SqliteConnection};

use super::fault::StoreFault;
use super::{postgres, sqlite};

#[derive(diesel::MultiConnection)]
pub enum AnyConnection {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

/// Where the rows are.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Backend {
    /// Path of the database file.
    Sqlite(String),
    /// The address as libpq takes it. Holds a password, so it is never printed.
    Postgres(String),
}

impl Backend {
    /// `sqlite:PATH`, `postgres://…` or `postgresql://…`.
    pub(super) fn parse(url: &str) -> Result<Self, StoreFault> {
        if let Some(rest) = url.strip_prefix("sqlite:") {
            let path = rest.strip_prefix("//").unwrap_or(rest);
            if path.is_empty() || path.starts_with(':') || path.starts_with("file:") {
                return Err(StoreFault::Refused(
                    "the database address needs a file, as in sqlite:/var/lib/hub.db".into(),
                ));
            }
            return Ok(Self::Sqlite(path.to_owned()));
        }
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            return Ok(Self::Postgres(url.to_owned()));
        }
        let scheme = url.split(':').next().unwrap_or_default();
        Err(StoreFault::Refused(format!(
            "the database address must begin with sqlite: or postgres://, not with {scheme:?}"
        )))
    }

    fn establish(&self) -> Result<AnyConnection, StoreFault> {
        let made = match self {
            Self::Sqlite(path) => SqliteConnection::establish(path).map(AnyConnection::Sqlite),
            Self::Postgres(url) => PgConnection::establish(url).map(AnyConnection::Postgres),
        };
        made.map_err(|error| match self {
            Self::Sqlite(path) => StoreFault::Unavailable(format!("cannot open {path}: {error}")),
            Self::Postgres(_) => {
                StoreFault::Unavailable(format!("cannot connect to PostgreSQL: {}", error.to_string().trim()))
            }
        })
    }

    /// A connection that may write.
    pub(super) fn writer(&self) -> Result<AnyConnection, StoreFault> {
        let mut connection = self.establish()?;
        match &mut connection {
            AnyConnection::Sqlite(c) => sqlite::prepare_writer(c)?,
            AnyConnection::Postgres(c) => postgres::prepare_writer(c)?,
        }
        Ok(connection)
    }

    fn reader(&self) -> Result<AnyConnection, StoreFault> {
        let mut connection = self.establish()?;
        match &mut connection {
            AnyConnection::Sqlite(c) => sqlite::prepare_reader(c)?,
            AnyConnection::Postgres(c) => postgres::prepare_reader(c)?,
        }
        Ok(connection)
    }
}

/// Makes the connections of the pool of readers.
#[derive(Debug)]
pub(super) struct Readers(pub(super) Backend);

impl ManageConnection for Readers {
    type Connection = AnyConnection;
    type Error = StoreFault;

    fn connect(&self) -> Result<AnyConnection, StoreFault> {
        self.0.reader()
    }

    fn is_valid(&self, connection: &mut AnyConnection) -> Result<(), StoreFault> {
        Ok(connection.ping()?)
    }

    fn has_broken(&self, connection: &mut AnyConnection) -> bool {
        std::thread::panicking() || connection.is_broken()
    }
}

/// Runs `read` on one unchanging view of the rows.
pub(super) fn on_snapshot<T>(
    connection: &mut AnyConnection,
    read: impl FnOnce(&mut AnyConnection) -> Result<T, StoreFault>,
) -> Result<T, StoreFault> {
    connection.transaction(|c| {
        if let AnyConnection::Postgres(c) = c {
            c.batch_execute("set transaction isolation level repeatable read, read only")?;
        }
        read(c)
    })
}
