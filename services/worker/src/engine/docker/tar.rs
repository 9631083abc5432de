//! A tar archive of a few small files, the form in which docker takes files for a container (POSIX ustar).

use std::io;

const BLOCK: usize = 512;

/// One entry: path and content; a path that ends with a slash is a directory.
pub(crate) type Entry<'a> = (&'a str, &'a [u8]);

/// An archive of files that everybody may read and nobody but root may write.
///
/// # Errors
/// If a path is longer than 100 bytes.
pub(crate) fn archive(entries: &[Entry<'_>]) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    for (path, content) in entries {
        out.extend_from_slice(&header(path, content.len())?);
        out.extend_from_slice(content);
        out.resize(out.len().next_multiple_of(BLOCK), 0);
    }
    // Two empty blocks end it.
    out.resize(out.len() + 2 * BLOCK, 0);
    Ok(out)
}

fn header(path: &str, size: usize) -> io::Result<[u8; BLOCK]> {
    if path.len() > 100 {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{path}: the path is too long for an archive")));
    }
    let is_directory = path.ends_with('/');
    let mut block = [0_u8; BLOCK];
    block[..path.len()].copy_from_slice(path.as_bytes());
    let mut octal = |at: usize, length: usize, value: usize| {
        let text = format!("{value:0width$o}", width = length - 1);
        block[at..at + text.len()].copy_from_slice(text.as_bytes());
    };
    octal(100, 8, if is_directory { 0o755 } else { 0o644 });
    octal(108, 8, 0);
    octal(116, 8, 0);
    octal(124, 12, size);
    octal(136, 12, 0);
    block[156] = if is_directory { b'5' } else { b'0' };
    block[257..265].copy_from_slice(b"ustar\x0000");
    // The checksum is taken with spaces in its own place.
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    let text = format!("{sum:06o}\0 ");
    block[148..156].copy_from_slice(text.as_bytes());
    Ok(block)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_archived_is_what_tar_unpacks() {
        let bytes = archive(&[("app/", b""), ("app/function.js", b"exports.handler = 1;\n"), ("empty", b"")]).unwrap();
        assert_eq!(bytes.len() % BLOCK, 0);
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("x.tar"), bytes).unwrap();
        let Ok(status) = std::process::Command::new("tar").args(["-xf", "x.tar"]).current_dir(directory.path()).status() else {
            println!("skipped: there is no tar");
            return;
        };
        assert!(status.success());
        assert_eq!(std::fs::read(directory.path().join("app/function.js")).unwrap(), b"exports.handler = 1;\n");
        assert_eq!(std::fs::read(directory.path().join("empty")).unwrap(), b"");
        assert!(archive(&[(&"x".repeat(101), b"")]).is_err());
    }
}
