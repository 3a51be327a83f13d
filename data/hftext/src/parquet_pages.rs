//! The sizes that the pages of a Parquet file declare, looked at before the decoder believes them.
//!
//! A page of a few bytes may claim to decompress to 2 GiB, or to hold two thousand million values
//! of one row. Page headers are Thrift compact structs (parquet.thrift: PageHeader).

use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};
use std::fs::File;
use std::os::unix::fs::FileExt;

const MAX_PAGE_BYTES: i64 = 256 << 20;
const CHECKED_ABOVE: i64 = 16 << 20;
const MAX_RATIO: i64 = 200;
/// Of a column whose values repeat within a row: what one row could hold at most.
const MAX_NESTED_VALUES: i64 = 1 << 25;
const MAX_HEADER_BYTES: usize = 1 << 20;

#[derive(Default)]
struct PageHeader {
    uncompressed: i64,
    compressed: i64,
    num_values: i64,
    size: usize,
}

/// A cursor over Thrift's compact encoding that fails at the end of its bytes.
struct Compact<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Compact<'_> {
    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn unsigned(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn signed(&mut self) -> Option<i64> {
        let value = self.unsigned()?;
        Some((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    fn advance(&mut self, count: u64) -> Option<()> {
        let end = self.at.checked_add(usize::try_from(count).ok()?)?;
        (end <= self.bytes.len()).then(|| self.at = end)
    }

    fn skip(&mut self, kind: u8, depth: u32) -> Option<()> {
        match kind {
            1 | 2 => Some(()),
            3 => self.advance(1),
            4..=6 => self.unsigned().map(|_| ()),
            7 => self.advance(8),
            8 => {
                let size = self.unsigned()?;
                self.advance(size)
            }
            12 if depth < 16 => {
                self.fields(depth + 1, |reader, _, kind| reader.skip(kind, depth + 1))
            }
            _ => None,
        }
    }

    /// Calls `visit` with the id and type of each field of a struct, to read or skip its value.
    fn fields(
        &mut self,
        _depth: u32,
        mut visit: impl FnMut(&mut Self, i64, u8) -> Option<()>,
    ) -> Option<()> {
        let mut id = 0i64;
        loop {
            let head = self.byte()?;
            if head == 0 {
                return Some(());
            }
            id =
                if head >> 4 == 0 { self.signed()? } else { id.checked_add(i64::from(head >> 4))? };
            visit(self, id, head & 0x0f)?;
        }
    }
}

fn read_header(bytes: &[u8]) -> Option<PageHeader> {
    let mut header = PageHeader::default();
    let mut reader = Compact { bytes, at: 0 };
    reader.fields(0, |reader, id, kind| match (id, kind) {
        (2, 5) => reader.signed().map(|v| header.uncompressed = v),
        (3, 5) => reader.signed().map(|v| header.compressed = v),
        // The headers of data pages (5, 8) and of dictionaries (7) all begin with num_values.
        (5 | 7 | 8, 12) => reader.fields(1, |reader, inner, kind| match (inner, kind) {
            (1, 5) => reader.signed().map(|v| header.num_values = v),
            _ => reader.skip(kind, 1),
        }),
        _ => reader.skip(kind, 0),
    })?;
    header.size = reader.at;
    Some(header)
}

fn header_at(file: &File, offset: u64, left: u64) -> Result<PageHeader, String> {
    for limit in [1usize << 12, MAX_HEADER_BYTES] {
        let mut bytes = vec![0u8; limit.min(left as usize)];
        file.read_exact_at(&mut bytes, offset).map_err(|e| e.to_string())?;
        if let Some(header) = read_header(&bytes) {
            return Ok(header);
        }
    }
    Err(format!("the page header at byte {offset} can't be read"))
}

fn check_chunk(file: &File, chunk: &ColumnChunkMetaData) -> Result<(), String> {
    let name = chunk.column_path().string();
    let first =
        chunk.dictionary_page_offset().filter(|o| *o > 0).unwrap_or(chunk.data_page_offset());
    let mut at = u64::try_from(first.min(chunk.data_page_offset())).map_err(|e| e.to_string())?;
    let length = u64::try_from(chunk.compressed_size()).map_err(|e| e.to_string())?;
    let end = at.checked_add(length).ok_or("a column ends beyond the file")?;
    if end > file.metadata().map_err(|e| e.to_string())?.len() {
        return Err(format!("column {name} ends beyond the end of the file"));
    }
    let nested = chunk.column_descr().max_rep_level() > 0;
    let mut num_values = 0i64;
    while at < end {
        let header = header_at(file, at, end - at)?;
        let (compressed, size) = (header.compressed, header.uncompressed);
        if compressed < 0 || size < 0 || header.num_values < 0 {
            return Err(format!("column {name}: a page declares a negative size"));
        }
        let bomb = size > CHECKED_ABOVE && size / MAX_RATIO > compressed;
        if size > MAX_PAGE_BYTES || bomb {
            return Err(format!(
                "column {name}: a page of {compressed} bytes declares {size} when decompressed \
                 (at most 256 MiB, and 200 times as much above 16 MiB)"
            ));
        }
        num_values = num_values.saturating_add(header.num_values);
        if nested && num_values > MAX_NESTED_VALUES {
            return Err(format!(
                "column {name}: a row group declares more than {MAX_NESTED_VALUES} nested values"
            ));
        }
        at += header.size as u64 + compressed as u64;
    }
    Ok(())
}

/// Checks the pages of the columns below the root columns that `wanted` accepts.
pub fn check_row_group(
    file: &File,
    group: &RowGroupMetaData,
    wanted: &dyn Fn(&str) -> bool,
) -> Result<(), String> {
    for chunk in group.columns() {
        let root = chunk.column_path().parts().first().map_or("", |p| p.as_str());
        if wanted(root) {
            check_chunk(file, chunk)?;
        }
    }
    Ok(())
}
