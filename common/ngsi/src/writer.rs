//! Writes JSON text straight into a buffer.

/// A JSON writer that places the commas.
///
/// It trusts its caller to call [`key`](Self::key) inside objects only and to close what it opened; everything it is
/// given as content is escaped, except for [`raw`](Self::raw), which takes JSON text that was checked before.
pub struct JsonWriter<'a> {
    out: &'a mut Vec<u8>,
    after_value: bool,
}

impl<'a> JsonWriter<'a> {
    /// Appends to `out`.
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        JsonWriter { out, after_value: false }
    }

    #[inline]
    fn separate(&mut self) {
        if self.after_value {
            self.out.push(b',');
        }
        self.after_value = true;
    }

    /// `{`
    #[inline]
    pub fn begin_object(&mut self) {
        self.separate();
        self.out.push(b'{');
        self.after_value = false;
    }

    /// `}`
    #[inline]
    pub fn end_object(&mut self) {
        self.out.push(b'}');
        self.after_value = true;
    }

    /// `[`
    #[inline]
    pub fn begin_array(&mut self) {
        self.separate();
        self.out.push(b'[');
        self.after_value = false;
    }

    /// `]`
    #[inline]
    pub fn end_array(&mut self) {
        self.out.push(b']');
        self.after_value = true;
    }

    /// The name of the next member.
    #[inline]
    pub fn key(&mut self, name: &str) {
        self.separate();
        write_string(self.out, name);
        self.out.push(b':');
        self.after_value = false;
    }

    /// A string, escaped.
    #[inline]
    pub fn string(&mut self, content: &str) {
        self.separate();
        write_string(self.out, content);
    }

    /// A text that is one complete JSON value.
    #[inline]
    pub fn raw(&mut self, json: &str) {
        self.separate();
        self.out.extend_from_slice(json.as_bytes());
    }

    /// An integer.
    pub fn integer(&mut self, number: i64) {
        self.separate();
        self.out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    }

    /// `true` or `false`
    pub fn boolean(&mut self, value: bool) {
        self.raw(if value { "true" } else { "false" });
    }

    /// A member that is a string.
    #[inline]
    pub fn string_member(&mut self, name: &str, content: &str) {
        self.key(name);
        self.string(content);
    }

    /// A member whose value is JSON text.
    #[inline]
    pub fn raw_member(&mut self, name: &str, json: &str) {
        self.key(name);
        self.raw(json);
    }

    /// A member whose value is displayed as a string that needs no escaping, such as a time.
    pub fn plain_member(&mut self, name: &str, value: impl std::fmt::Display) {
        use std::io::Write;
        self.key(name);
        self.separate();
        self.out.push(b'"');
        // Writing into a Vec cannot fail.
        let _ = write!(self.out, "{value}");
        self.out.push(b'"');
    }

    /// A value that serde writes; one that cannot be serialised becomes `null`.
    pub fn value<T: serde::Serialize + ?Sized>(&mut self, value: &T) {
        self.separate();
        let start = self.out.len();
        if serde_json::to_writer(&mut *self.out, value).is_err() {
            self.out.truncate(start);
            self.out.extend_from_slice(b"null");
        }
    }
}

fn write_string(out: &mut Vec<u8>, content: &str) {
    out.push(b'"');
    if is_plain(content.as_bytes()) {
        out.extend_from_slice(content.as_bytes());
    } else {
        escape(out, content);
    }
    out.push(b'"');
}

/// Whether a string stands in JSON as it is: no control characters, quotes and backslashes. Nearly all do, and many are
/// written for each answer, so eight bytes are looked at together.
#[inline]
fn is_plain(content: &[u8]) -> bool {
    // The last bytes may be looked at twice; that is quicker than to look at each of a rest.
    if let Some(last) = content.last_chunk::<8>() {
        let (words, _) = content.as_chunks::<8>();
        return words.iter().chain([last]).all(|word| is_plain_word(u64::from_ne_bytes(*word)));
    }
    match (content.first_chunk::<4>(), content.last_chunk::<4>()) {
        (Some(first), Some(last)) => is_plain_word(u64::from(u32::from_ne_bytes(*first)) << 32 | u64::from(u32::from_ne_bytes(*last))),
        _ => content.iter().all(|byte| *byte >= 0x20 && *byte != b'"' && *byte != b'\\'),
    }
}

/// [`is_plain`] for eight bytes. Subtracting `n` from each borrows into the top bit of those that are less, and those whose top
/// bit was set before (no ASCII) are left out. A borrow may spoil the next byte, but it comes from one that is less itself.
#[inline]
fn is_plain_word(word: u64) -> bool {
    const ONES: u64 = u64::MAX / 255;
    const TOPS: u64 = ONES << 7;
    let quotes = word ^ (ONES * b'"' as u64);
    let backslashes = word ^ (ONES * b'\\' as u64);
    let less = |word: u64, n: u64| word.wrapping_sub(ONES * n) & !word;
    (less(word, 0x20) | less(quotes, 1) | less(backslashes, 1)) & TOPS == 0
}

#[cold]
fn escape(out: &mut Vec<u8>, content: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    for byte in content.bytes() {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            control @ 0..0x20 => {
                out.extend_from_slice(b"\\u00");
                out.push(HEX[usize::from(control >> 4)]);
                out.push(HEX[usize::from(control & 15)]);
            }
            other => out.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn commas_stand_between_values_only() {
        let mut out = Vec::new();
        let mut w = JsonWriter::new(&mut out);
        w.begin_object();
        w.string_member("a", "x");
        w.key("b");
        w.begin_array();
        w.integer(i64::MIN);
        w.integer(0);
        w.begin_object();
        w.end_object();
        w.boolean(true);
        w.end_array();
        w.raw_member("c", "null");
        w.end_object();
        assert_eq!(String::from_utf8(out).unwrap(), r#"{"a":"x","b":[-9223372036854775808,0,{},true],"c":null}"#);
    }

    #[test]
    fn a_character_that_needs_escaping_is_seen_wherever_it_stands() {
        for (length, byte) in (1..20).flat_map(|length| (0..0x80_u8).map(move |byte| (length, byte))) {
            for place in 0..length {
                let mut content = vec![b'x'; length];
                content[place] = byte;
                let content = String::from_utf8(content).unwrap();
                let mut out = Vec::new();
                JsonWriter::new(&mut out).string(&content);
                assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), content);
                assert_eq!(is_plain(content.as_bytes()), byte >= 0x20 && byte != b'"' && byte != b'\\', "{content:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn every_string_reads_back(content in ".*") {
            let mut out = Vec::new();
            JsonWriter::new(&mut out).string(&content);
            prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), content);
        }

        #[test]
        fn every_integer_reads_back(number: i64) {
            let mut out = Vec::new();
            JsonWriter::new(&mut out).integer(number);
            prop_assert_eq!(serde_json::from_slice::<i64>(&out).unwrap(), number);
        }
    }
}
