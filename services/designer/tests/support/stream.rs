//! A reader of `GET /events`.

use std::time::Duration;

use futures::StreamExt;
use serde_json::Value;

/// One server-sent event.
#[derive(Clone, Debug)]
pub struct Event {
    pub id: String,
    pub name: String,
    pub data: Value,
}

/// See the module.
pub struct Reader {
    body: futures::stream::BoxStream<'static, reqwest::Result<bytes::Bytes>>,
    text: String,
}

impl Reader {
    /// Opens the stream; with the id of the last event that was seen it resumes.
    pub async fn open(designer: &super::Designer, last: Option<&str>) -> Self {
        let mut request = designer.http.get(designer.url("/events")).timeout(Duration::from_secs(60));
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let response = request.send().await.expect("a stream");
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Reader { body: response.bytes_stream().boxed(), text: String::new() }
    }

    /// The next event within ten seconds.
    pub async fn next(&mut self) -> Event {
        tokio::time::timeout(Duration::from_secs(10), self.read()).await.expect("an event within 10 s").expect("an open stream")
    }

    /// The next event of this name for which `want` holds; others are skipped.
    pub async fn until(&mut self, name: &str, want: impl Fn(&Value) -> bool) -> Event {
        loop {
            let event = self.next().await;
            if event.name == name && want(&event.data) {
                return event;
            }
        }
    }

    /// Whether the stream ends within ten seconds.
    pub async fn ends(&mut self) -> bool {
        tokio::time::timeout(Duration::from_secs(10), async { while self.read().await.is_some() {} }).await.is_ok()
    }

    async fn read(&mut self) -> Option<Event> {
        loop {
            while let Some(end) = self.text.find("\n\n") {
                let block: String = self.text.drain(..end + 2).collect();
                if let Some(event) = parse(&block) {
                    return Some(event);
                }
            }
            let chunk = self.body.next().await?.ok()?;
            self.text.push_str(std::str::from_utf8(&chunk).expect("UTF-8"));
        }
    }
}

fn parse(block: &str) -> Option<Event> {
    let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim_start().to_owned());
    let data = field("data:")?;
    Some(Event {
        id: field("id:").unwrap_or_default(),
        name: field("event:").unwrap_or_default(),
        data: serde_json::from_str(&data).expect("JSON"),
    })
}
