//! The file that holds the documents: append-only, one frame an insert.
//!
//! ```text
//! file  = "SQDBLOG1" frame*
//! frame = length: u32, crc: u32 (CRC-32C of the payload), payload: [u8; length]     little-endian
//! ```
//!
//! A frame is synced before its insert is acknowledged, so only the last one can be incomplete after a crash.
//! Opening cuts an incomplete last frame off; damage anywhere else is an error, never skipped.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::StoreError;

const MAGIC: &[u8; 8] = b"SQDBLOG1";
const FRAME_HEADER: usize = 8;
/// Longest payload: more than the longest message, so that every insert fits in one frame.
const MAX_PAYLOAD: usize = 64 * 1024 * 1024;

/// The open file, locked against other processes.
pub(super) struct Log {
    file: File,
    length: u64,
    /// A failed append could not be taken back: what is on disk is unknown until the next start.
    broken: bool,
}

impl Log {
    /// Opens or creates the file and hands each frame's payload to `replay`, which says whether it made sense.
    pub(super) fn open(path: &Path, mut replay: impl FnMut(&[u8]) -> bool) -> Result<Self, StoreError> {
        let failed = |operation| move |source| StoreError::File { operation, path: path.to_owned(), source };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(failed("open"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StoreError::InUse(path.to_owned())),
            Err(TryLockError::Error(source)) => return Err(failed("lock")(source)),
        }
        let size = file.metadata().map_err(failed("examine"))?.len();
        let mut reader = BufReader::new(&mut file);
        let mut magic = Vec::new();
        reader.by_ref().take(MAGIC.len() as u64).read_to_end(&mut magic).map_err(failed("read"))?;
        let mut length = MAGIC.len() as u64;
        if magic.len() < MAGIC.len() && MAGIC.starts_with(&magic) {
            // New, or the process died while it made the file.
            create(&mut file, path).map_err(failed("create"))?;
            return Ok(Self { file, length, broken: false });
        } else if magic != MAGIC {
            return Err(StoreError::NotALog(path.to_owned()));
        }
        while let Some(payload) = next_frame(&mut reader, size - length).map_err(failed("read"))? {
            let damaged = || StoreError::Damaged { path: path.to_owned(), offset: length };
            let Ok(payload) = payload else { return Err(damaged()) };
            if !replay(&payload) {
                return Err(damaged());
            }
            length += (FRAME_HEADER + payload.len()) as u64;
        }
        if length < size {
            tracing::warn!(path = %path.display(), bytes = size - length, "an incomplete insert is cut off");
            file.set_len(length).and_then(|()| file.sync_all()).map_err(failed("truncate"))?;
        }
        Ok(Self { file, length, broken: false })
    }

    /// How long the file would be with this payload in it, in bytes.
    pub(super) fn length_with(&self, payload: &[u8]) -> u64 {
        self.length + (FRAME_HEADER + payload.len()) as u64
    }

    /// Writes one frame and waits until it is on disk. On an error the file is as before.
    pub(super) fn append(&mut self, payload: &[u8]) -> io::Result<()> {
        if self.broken {
            return Err(io::Error::other("an earlier write failed; restart the database"));
        }
        let length = u32::try_from(payload.len())
            .ok()
            .filter(|_| payload.len() <= MAX_PAYLOAD)
            .ok_or_else(|| io::Error::other("an insert that is too long for a frame"))?;
        let mut frame = Vec::with_capacity(FRAME_HEADER + payload.len());
        frame.extend(length.to_le_bytes());
        frame.extend(crc32c::crc32c(payload).to_le_bytes());
        frame.extend_from_slice(payload);
        let written = self
            .file
            .seek(SeekFrom::Start(self.length))
            .and_then(|_| self.file.write_all(&frame))
            .and_then(|()| self.file.sync_data());
        if written.is_ok() {
            self.length += frame.len() as u64;
        } else {
            self.broken = self.file.set_len(self.length).and_then(|()| self.file.sync_all()).is_err();
        }
        written
    }
}

/// Writes the first bytes and makes the file's name durable.
fn create(file: &mut File, path: &Path) -> io::Result<()> {
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    file.write_all(MAGIC)?;
    file.sync_all()?;
    let folder: PathBuf = path.parent().map(Path::to_owned).unwrap_or_default();
    File::open(folder)?.sync_all()
}

/// A whole frame does not fit its checksum or promises too much.
struct Damage;

/// Reads the next frame of a file with `left` bytes to go. None at the end, be it clean or torn.
fn next_frame(reader: &mut impl Read, left: u64) -> io::Result<Option<Result<Vec<u8>, Damage>>> {
    if left < FRAME_HEADER as u64 {
        return Ok(None);
    }
    let (mut length, mut crc) = ([0; 4], [0; 4]);
    reader.read_exact(&mut length)?;
    reader.read_exact(&mut crc)?;
    let length = u32::from_le_bytes(length) as usize;
    let left = left - FRAME_HEADER as u64;
    // No insert is empty: this is space that the file system had set aside before the crash.
    if length == 0 && crc == [0; 4] && all_zero(reader)? {
        return Ok(None);
    }
    if length > MAX_PAYLOAD || length == 0 {
        return Ok(Some(Err(Damage)));
    }
    if length as u64 > left {
        return Ok(None);
    }
    let mut payload = vec![0; length];
    reader.read_exact(&mut payload)?;
    if crc32c::crc32c(&payload) == u32::from_le_bytes(crc) {
        return Ok(Some(Ok(payload)));
    }
    // The blocks of the last frame may have reached the disk in any order.
    Ok(if length as u64 == left { None } else { Some(Err(Damage)) })
}

fn all_zero(reader: &mut impl Read) -> io::Result<bool> {
    let mut buffer = [0; 4096];
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(true),
            read if buffer.iter().take(read).all(|byte| *byte == 0) => {}
            _ => return Ok(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn read_back(path: &Path) -> Result<(Vec<Vec<u8>>, Log), StoreError> {
        let mut payloads = Vec::new();
        let log = Log::open(path, |payload| {
            payloads.push(payload.to_vec());
            true
        })?;
        Ok((payloads, log))
    }

    fn written(path: &Path) -> Vec<u8> {
        let (_, mut log) = read_back(path).unwrap();
        log.append(b"first").unwrap();
        log.append(b"second").unwrap();
        drop(log);
        fs::read(path).unwrap()
    }

    #[test]
    fn every_cut_keeps_the_whole_frames_and_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let bytes = written(&path);
        let first_end = MAGIC.len() + FRAME_HEADER + 5;
        for cut in 0..=bytes.len() {
            fs::write(&path, &bytes[..cut]).unwrap();
            let (payloads, mut log) = read_back(&path).unwrap();
            let whole = usize::from(cut >= first_end) + usize::from(cut == bytes.len());
            assert_eq!(payloads, [b"first".to_vec(), b"second".to_vec()][..whole], "cut at {cut}");
            log.append(b"third").unwrap();
            drop(log);
            let (payloads, _) = read_back(&path).unwrap();
            assert_eq!(payloads.len(), whole + 1, "cut at {cut}");
            assert_eq!(payloads[whole], b"third", "cut at {cut}");
        }
    }

    #[test]
    fn a_tail_of_zeros_is_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let bytes = written(&path);
        fs::write(&path, [bytes.as_slice(), &[0; 9000]].concat()).unwrap();
        assert_eq!(read_back(&path).unwrap().0.len(), 2);
        assert_eq!(fs::read(&path).unwrap(), bytes);
    }

    #[test]
    fn damage_before_the_end_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let bytes = written(&path);
        // The checksum and the payload of the first frame; a change of its length may look like a torn end.
        for offset in MAGIC.len() + 4..MAGIC.len() + FRAME_HEADER + 5 {
            let mut damaged = bytes.clone();
            damaged[offset] ^= 0x10;
            fs::write(&path, &damaged).unwrap();
            let error = read_back(&path).err().unwrap();
            assert!(matches!(error, StoreError::Damaged { offset: 8, .. }), "{offset}: {error}");
            assert_eq!(fs::read(&path).unwrap(), damaged, "{offset}: the file was changed");
        }
    }

    #[test]
    fn a_file_of_something_else_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        fs::write(&path, "holiday pictures").unwrap();
        assert!(matches!(read_back(&path), Err(StoreError::NotALog(_))));
        assert_eq!(fs::read(&path).unwrap(), b"holiday pictures");
    }

    #[test]
    fn only_one_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let (_, _log) = read_back(&path).unwrap();
        assert!(matches!(read_back(&path), Err(StoreError::InUse(_))));
    }
}
