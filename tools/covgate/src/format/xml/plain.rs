//! Tags that lie whole and plain in a block of a report, read where they lie.

use super::tag::{Kind, MAX_ATTRIBUTES, Tag};

/// Reads a tag at the start of the block, after white space. It has to be whole, its names ASCII,
/// its values quoted and without `<`; the answer is how many bytes it took, white space included.
pub(super) fn plain_tag(block: &[u8], tag: &mut Tag) -> Option<usize> {
    let start = block.iter().position(|c| !is_space(*c))?;
    let mut at = start + 1;
    if *block.get(start)? != b'<' {
        return None;
    }
    let closing = *block.get(at)? == b'/';
    at += usize::from(closing);
    let name = at;
    at = end_of_name(block, at)?;
    if at == name {
        return None;
    }
    tag.name = name - start..at - start;
    tag.kind = if closing { Kind::End } else { Kind::Start };
    loop {
        let spaces = at;
        while is_space(*block.get(at)?) {
            at += 1;
        }
        match block[at] {
            b'>' => break,
            b'/' if !closing && *block.get(at + 1)? == b'>' => {
                tag.kind = Kind::Empty;
                at += 1;
                break;
            }
            _ if closing || spaces == at || tag.attributes.len() == MAX_ATTRIBUTES => return None,
            _ => {}
        }
        let (key, value, end) = plain_attribute(block, at)?;
        let value_at = end - 1 - value.len() - start;
        tag.attributes.push((at - start..at - start + key.len(), value_at..value_at + value.len()));
        at = end;
    }
    at += 1;
    tag.text.push_str(std::str::from_utf8(&block[start..at]).ok()?);
    Some(at)
}

/// White space as XML has it (XML 1.0, 2.3): a form feed is none.
pub(in crate::format) const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// Bytes that names of elements and attributes are made of.
const OF_NAMES: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        table[byte as usize] = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':');
        byte += 1;
    }
    table
};

fn end_of_name(block: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    while OF_NAMES[usize::from(*block.get(at)?)] {
        at += 1;
    }
    Some(at)
}

/// Where the quote is that ends a value, if there is no `<` before it. Values are too short for memchr to be worth a call.
fn end_of_value(block: &[u8], start: usize, quote: u8) -> Option<usize> {
    let mut at = start;
    loop {
        match *block.get(at)? {
            byte if byte == quote => return Some(at),
            b'<' => return None,
            _ => at += 1,
        }
    }
}

/// Reads the next attribute of a plain tag, after the space before it: name, value, and where it ends.
#[inline]
pub(in crate::format) fn plain_attribute(block: &[u8], start: usize) -> Option<(&[u8], &[u8], usize)> {
    let key = end_of_name(block, start)?;
    let quote = *block.get(key + 1)?;
    if key == start || block[key] != b'=' || (quote != b'"' && quote != b'\'') {
        return None;
    }
    let end = end_of_value(block, key + 2, quote)?;
    Some((&block[start..key], &block[key + 2..end], end + 1))
}
