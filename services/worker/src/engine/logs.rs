//! Log files of tasks: the last lines, following, and rotation by copy and truncate.
//!
//! A task writes into the file itself (opened for appending, so that a truncated file goes on from its start). Renaming
//! would not do: the task keeps the open file.

use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream;

use super::{EngineError, LogRange, LogStream};

/// A log is rotated when it is larger than this (bytes).
pub const ROTATE_AT: u64 = 10 * 1024 * 1024;
/// How many older parts are kept, as `<name>.1` (the newest) and so on.
pub const KEEP_ROTATED: u32 = 2;
/// At most this much of a log is read for its last lines (bytes).
const TAIL_WINDOW: u64 = 4 * 1024 * 1024;
const FOLLOW_POLL: Duration = Duration::from_millis(200);
const CHUNK: u64 = 64 * 1024;

/// Rotates a log that has grown past `limit`. What the task writes between the copy and the truncation is lost; that is
/// the price of not needing its help.
///
/// # Errors
/// What the file system says; a missing file is no error.
pub fn rotate(path: &Path, limit: u64) -> io::Result<bool> {
    let size = match std::fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    if size <= limit {
        return Ok(false);
    }
    for number in (1..KEEP_ROTATED).rev() {
        let older = rotated(path, number);
        if older.exists() {
            std::fs::rename(older, rotated(path, number + 1))?;
        }
    }
    std::fs::copy(path, rotated(path, 1))?;
    std::fs::OpenOptions::new().write(true).open(path)?.set_len(0)?;
    Ok(true)
}

fn rotated(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

/// The last `lines` lines of a file, and where it ended. A missing file is an empty one.
///
/// # Errors
/// What the file system says.
pub fn tail(path: &Path, lines: usize) -> io::Result<(Vec<u8>, u64)> {
    let mut file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((Vec::new(), 0)),
        Err(error) => return Err(error),
    };
    let size = file.metadata()?.len();
    let start = size.saturating_sub(TAIL_WINDOW);
    file.seek(SeekFrom::Start(start))?;
    let mut text = Vec::new();
    file.take(size - start).read_to_end(&mut text)?;
    let end = start + text.len() as u64;
    let body = text.strip_suffix(b"\n").unwrap_or(&text);
    let from = match lines {
        0 => text.len(),
        _ => body.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n').nth(lines - 1).map_or(0, |(position, _)| position + 1),
    };
    text.drain(..from);
    Ok((text, end))
}

/// The last line that says something, cut to `limit` characters; for the reason of a task that failed.
#[must_use]
pub fn last_line(path: &Path, limit: usize) -> Option<String> {
    let (text, _) = tail(path, 20).ok()?;
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().rev().find(|line| !line.trim().is_empty())?.trim();
    Some(line.chars().take(limit).collect())
}

/// A log file as a stream: its last lines, then, when following, what is added, over rotations, until the file is gone.
///
/// # Errors
/// [`EngineError::Failed`] when the file cannot be read.
pub async fn read(path: PathBuf, range: LogRange) -> Result<LogStream, EngineError> {
    let failed = |error: io::Error| EngineError::Failed(format!("the log cannot be read: {error}"));
    let (text, end) = tokio::task::spawn_blocking({
        let path = path.clone();
        move || tail(&path, range.tail)
    })
    .await
    .map_err(|error| EngineError::Failed(error.to_string()))?
    .map_err(failed)?;
    let first = stream::once(async move { Ok(Bytes::from(text)) });
    if !range.follow {
        return Ok(first.boxed());
    }
    let rest = stream::unfold((path, end), move |(path, mut position)| async move {
        loop {
            let size = tokio::fs::metadata(&path).await.ok()?.len();
            if size < position {
                position = 0; // rotated
            }
            if size > position {
                match read_from(path.clone(), position).await {
                    Ok(chunk) => {
                        let next = position + chunk.len() as u64;
                        return Some((Ok(chunk), (path, next)));
                    }
                    Err(error) => return Some((Err(failed(error)), (path, size))),
                }
            }
            tokio::time::sleep(FOLLOW_POLL).await;
        }
    });
    Ok(first.chain(rest).boxed())
}

async fn read_from(path: PathBuf, position: u64) -> io::Result<Bytes> {
    tokio::task::spawn_blocking(move || {
        let mut file = std::fs::File::open(path)?;
        file.seek(SeekFrom::Start(position))?;
        let mut chunk = Vec::new();
        file.take(CHUNK).read_to_end(&mut chunk)?;
        Ok(Bytes::from(chunk))
    })
    .await
    .map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn log(text: &str) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("output.log");
        std::fs::write(&path, text).unwrap();
        (directory, path)
    }

    #[test]
    fn the_tail_is_the_last_lines_also_without_a_final_newline() {
        let (_keep, path) = log("a\nb\nc\n");
        assert_eq!(tail(&path, 2).unwrap(), (b"b\nc\n".to_vec(), 6));
        assert_eq!(tail(&path, 9).unwrap().0, b"a\nb\nc\n");
        assert_eq!(tail(&path, 0).unwrap(), (Vec::new(), 6));
        std::fs::write(&path, "a\nb\nc").unwrap();
        assert_eq!(tail(&path, 1).unwrap().0, b"c");
        assert_eq!(tail(Path::new("/no/such/file"), 1).unwrap(), (Vec::new(), 0));
    }

    #[test]
    fn a_writer_that_appends_goes_on_at_the_start_after_rotation() {
        let (_keep, path) = log("");
        let mut writer = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
        writer.write_all(b"0123456789").unwrap();
        assert!(!rotate(&path, 10).unwrap());
        assert!(rotate(&path, 9).unwrap());
        writer.write_all(b"new").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(std::fs::read(rotated(&path, 1)).unwrap(), b"0123456789");
        assert!(rotate(&path, 1).unwrap());
        assert_eq!(std::fs::read(rotated(&path, 2)).unwrap(), b"0123456789");
    }

    #[tokio::test]
    async fn following_gives_what_is_appended_and_goes_on_over_a_rotation() {
        let (_keep, path) = log("old\nlast\n");
        let mut lines = read(path.clone(), LogRange { tail: 1, follow: true }).await.unwrap();
        assert_eq!(lines.next().await.unwrap().unwrap(), "last\n");
        let mut writer = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
        writer.write_all(b"more\n").unwrap();
        assert_eq!(lines.next().await.unwrap().unwrap(), "more\n");
        rotate(&path, 1).unwrap();
        writer.write_all(b"again\n").unwrap();
        assert_eq!(lines.next().await.unwrap().unwrap(), "again\n");
        std::fs::remove_file(&path).unwrap();
        assert!(lines.next().await.is_none());
    }
}
