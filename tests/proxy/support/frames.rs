//! HTTP/2 by hand, for callers that no library would be.

/// What opens a connection: preface, and settings that let every stream have as much as it likes.
pub(crate) fn opening() -> Vec<u8> {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    // SETTINGS_INITIAL_WINDOW_SIZE.
    bytes.extend(frame(4, 0, 0, &[&[0, 4][..], &0x7fff_ffff_u32.to_be_bytes()].concat()));
    bytes.extend(frame(8, 0, 0, &0x7fff_0000_u32.to_be_bytes()));
    bytes
}

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A head for `/mcp`, without ever using a table.
pub(crate) fn head(method: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let target = [(":method", method), (":scheme", "https"), (":authority", "mcp.test"), (":path", "/mcp")];
    let mut block = Vec::new();
    for text in target.iter().chain(headers).flat_map(|(name, value)| [None, Some(*name), Some(*value)]) {
        match text {
            // Literal header field without indexing, new name.
            None => block.push(0),
            Some(text) => {
                integer(&mut block, text.len());
                block.extend(text.as_bytes());
            }
        }
    }
    block
}

/// With a prefix of seven bits (RFC 7541 section 5.1).
fn integer(block: &mut Vec<u8>, mut number: usize) {
    if number < 127 {
        return block.push(u8::try_from(number).unwrap());
    }
    block.push(127);
    number -= 127;
    while number >= 128 {
        block.push(u8::try_from(number % 128).unwrap() | 128);
        number /= 128;
    }
    block.push(u8::try_from(number).unwrap());
}

/// The error of the GOAWAY in these frames, if there is one.
pub(crate) fn goaway(mut bytes: &[u8]) -> Option<u32> {
    while let Some((head, rest)) = bytes.split_first_chunk::<9>() {
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let (payload, rest) = rest.split_at_checked(length)?;
        if head[3] == 7 {
            return Some(u32::from_be_bytes(payload[4..8].try_into().unwrap()));
        }
        bytes = rest;
    }
    None
}
