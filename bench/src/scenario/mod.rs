//! What is measured.

mod across;
mod appear;
mod deliver;
mod fill;
mod idle;
mod rounds;

use std::ops::Range;
use std::time::Duration;

use crate::api::Api;
use crate::http::{Connection, Target};
use crate::template::Template;

pub use across::across;
pub use appear::appear;
pub use deliver::deliver;
pub use fill::fill;
pub use idle::subscribe_idle;
pub use rounds::{get, reference, update};

/// What scenarios have in common.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The broker.
    pub target: Target,
    /// The interface.
    pub api: Api,
    /// Connections of the load.
    pub connections: usize,
    /// How long to load.
    pub duration: Duration,
    /// The number of the first entity.
    pub first: usize,
    /// Entities that the load is spread over.
    pub entities: usize,
    /// The server's process, if it is on this machine.
    pub server: Option<u32>,
}

/// Sends one request on a connection of its own; its answer must be a success.
async fn once(target: &Target, template: &Template) -> anyhow::Result<String> {
    let mut connection = Connection::open(target).await?;
    let answer = connection.exchange(template.bytes()).await?;
    let body = String::from_utf8_lossy(connection.body(answer)).into_owned();
    anyhow::ensure!((200..300).contains(&answer.status), "the broker answered {}: {body}", answer.status);
    // NGSI-10 says inside of the body what went wrong.
    anyhow::ensure!(!body.contains(r#""code":4"#) && !body.contains(r#""code":5"#), "the broker answered {body}");
    Ok(body)
}

impl Setting {
    /// Creates the entities.
    async fn prepare(&self) -> anyhow::Result<()> {
        once(&self.target, &self.api.create(&self.target, self.numbers())).await.map(drop)
    }

    fn updates(&self) -> Vec<Template> {
        self.numbers().map(|number| self.api.update(&self.target, number)).collect()
    }

    fn numbers(&self) -> Range<usize> {
        self.first..self.first + self.entities
    }
}
