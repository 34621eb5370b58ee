//! The peer that a programmer writes in an afternoon: a thread for each connection, and
//! frames that are read, hashed and answered one after the other.

use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread;

use hasher_kernel::digest_batch;
use hasher_wire::MAX_FRAME_BYTES;

use super::dialect::{LENGTH_BYTES, Message, NUMBER_BYTES, frame_bytes};

/// Serves until the process ends.
pub fn serve(socket: &Path) -> io::Result<()> {
    for stream in UnixListener::bind(socket)?.incoming() {
        let stream = stream?;
        thread::Builder::new().spawn(move || {
            // A client that goes away is no fault.
            _ = serve_one(stream);
        })?;
    }
    Ok(())
}

fn serve_one(stream: UnixStream) -> io::Result<()> {
    let mut reader = BufReader::with_capacity(MAX_FRAME_BYTES, stream.try_clone()?);
    let mut writer = BufWriter::with_capacity(MAX_FRAME_BYTES, stream);
    let mut request = Vec::new();
    loop {
        // Answers leave together, once nothing is left to be answered without waiting.
        let buffered = reader.buffer();
        if frame_bytes(buffered).is_none_or(|bytes| bytes > buffered.len()) {
            writer.flush()?;
        }
        if reader.fill_buf()?.is_empty() {
            return Ok(());
        }
        let mut length = [0; LENGTH_BYTES];
        reader.read_exact(&mut length)?;
        let length = u32::from_le_bytes(length) as usize;
        if !(NUMBER_BYTES..=MAX_FRAME_BYTES).contains(&length) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        request.resize(length, 0);
        reader.read_exact(&mut request)?;
        let (number, messages) = request.split_at(NUMBER_BYTES);
        let messages: &[Message] = messages.as_chunks().0;
        let digests = digest_batch(messages);
        let length = NUMBER_BYTES + digests.len() * size_of::<hasher_work::Digest>();
        writer.write_all(&(length as u32).to_le_bytes())?;
        writer.write_all(number)?;
        for digest in digests {
            writer.write_all(&digest.0)?;
        }
    }
}
