//! As much of an HTTP/1.1 client as a load generator needs: prepared requests out, complete answers in.

use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A server by its URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// `host:port`
    pub authority: String,
    /// What precedes every path; usually empty.
    pub prefix: String,
}

impl Target {
    /// From `http://host[:port][/prefix]`.
    ///
    /// # Errors
    /// If the URL is not of that form.
    pub fn parse(url: &str) -> anyhow::Result<Self> {
        let rest = url.strip_prefix("http://").ok_or_else(|| anyhow::anyhow!("{url}: only http:// URLs can be measured"))?;
        let (authority, prefix) = rest.split_once('/').map_or((rest, String::new()), |(host, path)| (host, format!("/{path}")));
        anyhow::ensure!(!authority.is_empty(), "{url}: no host");
        let authority = if authority.contains(':') { authority.to_owned() } else { format!("{authority}:80") };
        Ok(Target { authority, prefix: prefix.trim_end_matches('/').to_owned() })
    }
}

/// One keep-alive connection.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    filled: usize,
}

/// Where in the buffer an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The body's size in bytes, without chunk headers.
    pub size: usize,
    head: usize,
    end: usize,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// If nothing listens there.
    pub async fn open(target: &Target) -> io::Result<Self> {
        let stream = TcpStream::connect(&target.authority).await?;
        stream.set_nodelay(true)?;
        Ok(Connection { stream, buffer: vec![0; 16 * 1024], filled: 0 })
    }

    /// Sends a complete request and waits for the complete answer.
    ///
    /// # Errors
    /// If the connection breaks or the answer is not HTTP/1.1.
    pub async fn exchange(&mut self, request: &[u8]) -> io::Result<Answer> {
        self.filled = 0;
        self.stream.write_all(request).await?;
        loop {
            if self.filled == self.buffer.len() {
                self.buffer.resize(self.buffer.len() * 2, 0);
            }
            let free = self.buffer.get_mut(self.filled..).unwrap_or_default();
            let read = self.stream.read(free).await?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.filled += read;
            if let Some(answer) = parse(self.buffer.get(..self.filled).unwrap_or_default())? {
                return Ok(answer);
            }
        }
    }

    /// The body of the last answer, as it came (with chunk headers if it was chunked).
    #[must_use]
    pub fn body(&self, answer: Answer) -> &[u8] {
        self.buffer.get(answer.head..answer.end).unwrap_or_default()
    }
}

fn parse(bytes: &[u8]) -> io::Result<Option<Answer>> {
    let Some(head) = find(bytes, b"\r\n\r\n").map(|at| at + 4) else { return Ok(None) };
    let bad = || io::Error::new(io::ErrorKind::InvalidData, "not an HTTP/1.1 answer");
    let text = bytes.get(..head).ok_or_else(bad)?;
    let status = text.get(9..12).and_then(|code| std::str::from_utf8(code).ok()?.parse::<u16>().ok()).ok_or_else(bad)?;
    if let Some(length) = header(text, b"content-length:") {
        let length = std::str::from_utf8(length).ok().and_then(|length| length.trim().parse::<usize>().ok()).ok_or_else(bad)?;
        let end = head + length;
        return Ok((bytes.len() >= end).then_some(Answer { status, size: length, head, end }));
    }
    if header(text, b"transfer-encoding:").is_some() {
        return Ok(chunked(bytes, head).map(|(size, end)| Answer { status, size, head, end }));
    }
    Ok(Some(Answer { status, size: 0, head, end: head }))
}

/// The value of a header, by its lower-case name with colon.
fn header<'a>(head: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    head.split(|byte| *byte == b'\n').find_map(|line| {
        let (start, value) = line.split_at_checked(name.len())?;
        start.eq_ignore_ascii_case(name).then_some(value)
    })
}

/// The size of a chunked body and where it ends, if it is complete.
fn chunked(bytes: &[u8], head: usize) -> Option<(usize, usize)> {
    let (mut at, mut size) = (head, 0);
    loop {
        let line = find(bytes.get(at..)?, b"\r\n")?;
        let digits = std::str::from_utf8(bytes.get(at..at + line)?).ok()?;
        let length = usize::from_str_radix(digits.split(';').next()?.trim(), 16).ok()?;
        at += line + 2 + length + 2;
        if bytes.len() < at {
            return None;
        }
        if length == 0 {
            return Some((size, at));
        }
        size += length;
    }
}

/// Where a short text begins.
#[must_use]
pub fn find(bytes: &[u8], text: &[u8]) -> Option<usize> {
    bytes.windows(text.len()).position(|window| window == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_complete_when_its_whole_body_is_there() {
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
        for end in 0..whole.len() {
            assert_eq!(parse(&whole[..end]).unwrap_or_default(), None, "{end}");
        }
        assert_eq!(parse(whole).unwrap().map(|answer| (answer.status, answer.size)), Some((200, 5)));
        let empty = b"HTTP/1.1 204 No Content\r\nserver: x\r\n\r\n";
        assert_eq!(parse(empty).unwrap().map(|answer| (answer.status, answer.size)), Some((204, 0)));
    }

    #[test]
    fn chunks_are_added_up() {
        let whole = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n3\r\nyou\r\n0\r\n\r\n";
        assert_eq!(parse(&whole[..whole.len() - 1]).unwrap(), None);
        assert_eq!(parse(whole).unwrap().map(|answer| answer.size), Some(8));
    }

    #[test]
    fn urls_are_taken_apart() {
        let target = Target::parse("http://broker:1026/").unwrap();
        assert_eq!((target.authority.as_str(), target.prefix.as_str()), ("broker:1026", ""));
        assert!(Target::parse("https://broker").is_err());
    }
}
