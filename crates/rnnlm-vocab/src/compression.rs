//! Stage 1, decompression: texts in gzip and zstd files.

use std::io::{self, BufReader, Cursor, ErrorKind, Read};

use flate2::read::MultiGzDecoder;
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

/// The first bytes of a gzip file with its only compression method.
const GZIP: &[u8] = b"\x1F\x8B\x08";
/// The first bytes of a zstd frame.
const ZSTD: [u8; 4] = *b"\x28\xB5\x2F\xFD";
/// The first bytes of a zstd frame without content. The low half of the first byte is arbitrary.
const SKIPPABLE: [u8; 4] = *b"\x50\x2A\x4D\x18";
/// The largest window that the program `zstd` accepts by default.
const MAX_WINDOW_BYTES: u64 = 128 << 20;
/// The memory of a zstd decoder is a small multiple of its window, which may take this fraction of the limit.
const WINDOW_SHARE: u64 = 8;

/// Whether a file that begins with these bytes is compressed. Four bytes decide.
pub(crate) fn is_compressed(head: &[u8]) -> bool {
    head.starts_with(GZIP) || is_zstd(head)
}

fn is_zstd(head: &[u8]) -> bool {
    head.first_chunk().is_some_and(|&magic| magic == ZSTD || is_skippable(magic))
}

fn is_skippable(magic: [u8; 4]) -> bool {
    magic[0] & 0xF0 == SKIPPABLE[0] && magic[1..] == SKIPPABLE[1..]
}

/// The content of a compressed file that begins with `head`, which `rest` follows.
pub(crate) fn decompress<'a>(head: Vec<u8>, rest: Box<dyn Read + 'a>, memory_limit: u64) -> Box<dyn Read + 'a> {
    let is_zstd = is_zstd(&head);
    let file = Cursor::new(head).chain(rest);
    if !is_zstd {
        return Box::new(MultiGzDecoder::new(file));
    }
    let max_window = MAX_WINDOW_BYTES.min(memory_limit / WINDOW_SHARE);
    Box::new(Zstd { file: BufReader::new(file), frame: None, max_window })
}

/// The content of the frames of a zstd file, one after the other.
struct Zstd<R> {
    file: BufReader<R>,
    frame: Option<FrameDecoder>,
    max_window: u64,
}

impl<R: Read> Read for Zstd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.frame.is_none() {
                self.frame = self.next_frame()?;
            }
            let Some(frame) = &mut self.frame else { return Ok(0) };
            while frame.can_collect() == 0 && !frame.is_finished() {
                frame.decode_blocks(&mut self.file, BlockDecodingStrategy::UptoBlocks(1)).map_err(invalid)?;
            }
            let length = frame.read(buffer)?;
            if length > 0 || buffer.is_empty() {
                return Ok(length);
            }
            let stored = frame.get_checksum_from_data();
            if stored.is_some() && stored != frame.get_calculated_checksum() {
                return Err(invalid("the checksum of a zstd frame does not match its content"));
            }
            self.frame = None;
        }
    }
}

impl<R: Read> Zstd<R> {
    /// Reads the header of the next frame with content; `None` at the end of the file.
    fn next_frame(&mut self) -> io::Result<Option<FrameDecoder>> {
        loop {
            let mut magic = Vec::new();
            self.file.by_ref().take(4).read_to_end(&mut magic)?;
            let magic: [u8; 4] = match magic.try_into() {
                Ok(magic) => magic,
                Err(rest) if rest.is_empty() => return Ok(None),
                Err(_) => return Err(ErrorKind::UnexpectedEof.into()),
            };
            if magic == ZSTD {
                return self.frame_header().map(Some);
            }
            if !is_skippable(magic) {
                return Err(invalid("other bytes follow the last zstd frame"));
            }
            let length = u64::from(u32::from_le_bytes(self.bytes()?));
            if io::copy(&mut self.file.by_ref().take(length), &mut io::sink())? < length {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Reads the rest of a frame's header, and checks the window before a decoder allocates it.
    fn frame_header(&mut self) -> io::Result<FrameDecoder> {
        let [descriptor] = self.bytes()?;
        let mut header = [&ZSTD[..], &[descriptor]].concat();
        let is_single_segment = descriptor & 0b10_0000 != 0;
        let mut window = 0;
        if !is_single_segment {
            let [byte] = self.bytes()?;
            header.push(byte);
            let base = 1_u64 << (10 + (byte >> 3));
            window = base + base / 8 * u64::from(byte & 0b111);
        }
        let dictionary_bytes = [0, 1, 2, 4][usize::from(descriptor & 0b11)];
        let size_bytes = match (descriptor >> 6, is_single_segment) {
            (0, false) => 0,
            (flag, _) => 1 << flag,
        };
        let start_of_size = header.len() + dictionary_bytes;
        header.resize(start_of_size + size_bytes, 0);
        self.file.read_exact(&mut header[start_of_size - dictionary_bytes..])?;
        if is_single_segment {
            let mut size = [0; 8];
            size[..size_bytes].copy_from_slice(&header[start_of_size..]);
            // a size of two bytes counts from 256
            window = u64::from_le_bytes(size).saturating_add(if size_bytes == 2 { 256 } else { 0 });
        }
        if window > self.max_window {
            let max = self.max_window;
            return Err(invalid(format!("decompression needs a window of {window} bytes, the maximum is {max}")));
        }
        let mut decoder = FrameDecoder::new();
        decoder.init(&header[..]).map_err(invalid)?;
        Ok(decoder)
    }

    fn bytes<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.file.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::*;

    /// The output of `printf 'the time machine the time machine the time traveller\n' | zstd -19`.
    const ZSTD_FILE: &[u8] =
        b"\x28\xB5\x2F\xFD\x24\x35\x0D\x01\x00\xD8the time machine traveller\n\x01\x00\xC9\x9E\x4B\
                               \x73\xFB\xF7\x18";
    const ZSTD_TEXT: &[u8] = b"the time machine the time machine the time traveller\n";
    /// The output of `printf 'a\n' | gzip -n9`.
    const GZIP_FILE: &[u8] = b"\x1F\x8B\x08\0\0\0\0\0\x02\x03\x4B\xE4\x02\0\x07\xA1\xEA\xDD\x02\0\0\0";

    fn read_within(file: &[u8], memory_limit: u64) -> io::Result<Vec<u8>> {
        assert!(is_compressed(file));
        let (head, rest) = file.split_at(4);
        let mut text = Vec::new();
        decompress(head.to_vec(), Box::new(rest), memory_limit).read_to_end(&mut text)?;
        Ok(text)
    }

    fn read(file: &[u8]) -> io::Result<Vec<u8>> {
        read_within(file, u64::MAX)
    }

    #[test]
    fn files_of_the_standard_programs_are_read() {
        assert_eq!(read(ZSTD_FILE).unwrap(), ZSTD_TEXT);
        assert_eq!(read(GZIP_FILE).unwrap(), b"a\n");
    }

    #[test]
    fn concatenated_files_and_skippable_frames_are_read() {
        let skippable = b"\x5A\x2A\x4D\x18\x03\0\0\0abc";
        let twice = [&skippable[..], ZSTD_FILE, skippable, ZSTD_FILE].concat();
        assert_eq!(read(&twice).unwrap(), ZSTD_TEXT.repeat(2));
        assert_eq!(read(&GZIP_FILE.repeat(2)).unwrap(), b"a\na\n");
    }

    #[test]
    fn long_texts_are_read() {
        let text = ZSTD_TEXT.repeat(20_000);
        assert!(read(&compress_to_vec(&text[..], CompressionLevel::Fastest)).unwrap() == text);
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(&text).unwrap();
        assert!(read(&gzip.finish().unwrap()).unwrap() == text);
    }

    #[test]
    fn every_cut_and_every_changed_bit_is_an_error() {
        for file in [ZSTD_FILE, GZIP_FILE] {
            for length in 4..file.len() {
                assert!(read(&file[..length]).is_err(), "cut off after {length} bytes");
            }
        }
        let text = read(ZSTD_FILE).unwrap();
        for bit in 8 * 4..8 * ZSTD_FILE.len() {
            let mut file = ZSTD_FILE.to_vec();
            file[bit / 8] ^= 1 << (bit % 8);
            // a changed bit that the format ignores gives the same text
            assert!(read(&file).map_or(true, |read| read == text), "bit {bit}");
        }
        assert!(read(&[ZSTD_FILE, b"more"].concat()).unwrap_err().to_string().contains("last zstd frame"));
    }

    #[test]
    fn a_window_beyond_the_limit_is_refused_before_it_is_allocated() {
        // a single segment of 2^40 bytes, and a window of 2^30 bytes
        let segment = b"\x28\xB5\x2F\xFD\xE0\0\0\0\0\0\x01\0\0".as_slice();
        let window = b"\x28\xB5\x2F\xFD\x00\xA0".as_slice();
        for (file, bytes) in [(segment, 1_u64 << 40), (window, 1 << 30)] {
            let error = read(file).unwrap_err().to_string();
            assert_eq!(error, format!("decompression needs a window of {bytes} bytes, the maximum is {}", 128 << 20));
        }
        assert!(read_within(ZSTD_FILE, 8 * 53).is_ok());
        let error = read_within(ZSTD_FILE, 8 * 52).unwrap_err().to_string();
        assert_eq!(error, "decompression needs a window of 53 bytes, the maximum is 52");
    }
}
