use hasher_work::WorkError;

/// Bytes that are not this protocol, or values that do not fit into it.
///
/// After an error of [`Codec::decode`](crate::Codec::decode) nothing more can be
/// read from the connection: close it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// A frame announces or needs more than the limit.
    #[error("frame of {length} bytes is longer than the limit of {max}")]
    FrameTooLong {
        /// Bytes, the length field included.
        length: u64,
        /// The limit.
        max: usize,
    },
    /// A frame announces too few bytes to hold its type.
    #[error("frame announces {length} bytes, too few for its type")]
    FrameTooShort {
        /// The announced length.
        length: u32,
    },
    /// A frame ends inside a field.
    #[error("{frame} frame ends inside its field {field}")]
    Truncated {
        /// Name of the frame.
        frame: &'static str,
        /// Name of the field.
        field: &'static str,
    },
    /// A field holds a number without meaning.
    #[error("{frame} frame has {value} in its field {field}, which means nothing")]
    BadField {
        /// Name of the frame.
        frame: &'static str,
        /// Name of the field.
        field: &'static str,
        /// The number.
        value: u64,
    },
    /// A list or text is longer than its bound.
    #[error("{frame} frame has {count} in its field {field}, more than {max}")]
    TooMany {
        /// Name of the frame.
        frame: &'static str,
        /// Name of the field.
        field: &'static str,
        /// Entries or bytes.
        count: usize,
        /// The bound.
        max: usize,
    },
    /// A text is not UTF-8.
    #[error("{frame} frame has a text in its field {field} that is not UTF-8")]
    NotUtf8 {
        /// Name of the frame.
        frame: &'static str,
        /// Name of the field.
        field: &'static str,
    },
    /// A Hello does not begin with the magic number.
    #[error("peer does not speak the hasher protocol: wrong magic number {0:02x?}")]
    BadMagic([u8; 4]),
    /// A job is not a search at all.
    #[error("job {index} of a Search frame")]
    BadJob {
        /// Place in the batch.
        index: usize,
        /// What is wrong with it.
        #[source]
        source: WorkError,
    },
    /// A JSON document has not the fields that this version asks for.
    #[error("{what} document cannot be read or written")]
    BadJson {
        /// The document.
        what: &'static str,
        /// The parser's reason.
        #[source]
        source: serde_json::Error,
    },
}
