//! Requests built beforehand. A request may carry a stamp, a number of fixed width that differs from request to request
//! and by which a change is recognised at the subscriber.

use crate::http::{Target, find};

/// How a stamp looks before it is set.
pub const BLANK: &str = "@0000000000@";
const DIGITS: usize = 10;

/// A complete request.
#[derive(Clone, Debug)]
pub struct Template {
    bytes: Vec<u8>,
    stamp: Option<usize>,
}

impl Template {
    /// Builds a request. A body that contains [`BLANK`] can be stamped.
    #[must_use]
    pub fn new(target: &Target, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Self {
        let mut text = format!("{method} {}{path} HTTP/1.1\r\nHost: {}\r\nAccept: application/json\r\n", target.prefix, target.authority);
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() {
            text.push_str(&format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len()));
        }
        text.push_str("\r\n");
        text.push_str(body);
        let bytes = text.into_bytes();
        Template { stamp: find(&bytes, BLANK.as_bytes()).map(|at| at + 1), bytes }
    }

    /// The same request to another path.
    #[must_use]
    pub fn redirected(&self, path: &str) -> Self {
        let rest = find(&self.bytes, b" HTTP/1.1\r\n").and_then(|at| self.bytes.get(at..)).unwrap_or_default();
        let method = self.bytes.split(|byte| *byte == b' ').next().unwrap_or_default();
        let bytes = [method, b" ", path.as_bytes(), rest].concat();
        Template { stamp: find(&bytes, BLANK.as_bytes()).map(|at| at + 1), bytes }
    }

    /// Sets the stamp, if there is one.
    pub fn set(&mut self, mut number: u64) {
        let place = self.stamp.and_then(|at| self.bytes.get_mut(at..at + DIGITS));
        for digit in place.into_iter().flatten().rev() {
            *digit = b'0' + (number % 10) as u8;
            number /= 10;
        }
    }

    /// The request.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Every stamp in a body.
pub fn stamps(body: &[u8]) -> impl Iterator<Item = u64> + '_ {
    let mut rest = body;
    std::iter::from_fn(move || {
        loop {
            let at = rest.iter().position(|byte| *byte == b'@')?;
            rest = rest.get(at + 1..)?;
            let digits = rest.get(..DIGITS);
            if let Some(number) = digits.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok())
                && rest.get(DIGITS) == Some(&b'@')
            {
                rest = rest.get(DIGITS + 1..)?;
                return Some(number);
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stamped_is_found_again() {
        let target = Target::parse("http://localhost:1").unwrap();
        let mut template = Template::new(&target, "POST", "/x", &[], &format!(r#"{{"a":"{BLANK}","mail":"me@home"}}"#));
        template.set(42);
        assert_eq!(stamps(template.bytes()).collect::<Vec<_>>(), [42]);
        template.set(9_999_999_999);
        assert_eq!(stamps(template.bytes()).collect::<Vec<_>>(), [9_999_999_999]);
    }
}
