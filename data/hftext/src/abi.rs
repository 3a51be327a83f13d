//! Values that cross the C ABI, and the guard that turns errors and panics into them.

use std::panic::{catch_unwind, AssertUnwindSafe};

/// Why a call failed; `line` is the template's, 0 where there is none.
pub struct Failure {
    pub message: String,
    pub line: u32,
}

impl From<String> for Failure {
    fn from(message: String) -> Self {
        Failure { message, line: 0 }
    }
}

#[repr(C)]
pub struct HftText {
    data: *mut u8,
    size: usize,
}

impl HftText {
    pub fn new(text: String) -> Self {
        let (data, size) = leak(text.into_bytes());
        HftText { data, size }
    }

    pub unsafe fn release(self) {
        unleak(self.data, self.size);
    }
}

#[repr(C)]
pub struct HftEncoding {
    ids: *mut u32,
    num_ids: usize,
    offsets: *mut u64,
    num_offsets: usize,
}

impl HftEncoding {
    pub fn new(ids: &[u32], spans: &[(usize, usize)]) -> Self {
        let (ids, num_ids) = leak(ids.to_vec());
        let flat = spans.iter().flat_map(|s| [s.0 as u64, s.1 as u64]).collect();
        let (offsets, num_offsets) = leak(flat);
        HftEncoding { ids, num_ids, offsets, num_offsets: num_offsets / 2 }
    }

    pub unsafe fn release(self) {
        unleak(self.ids, self.num_ids);
        unleak(self.offsets, self.num_offsets * 2);
    }
}

#[repr(C)]
pub struct HftError {
    message: HftText,
    line: u32,
}

fn leak<T>(values: Vec<T>) -> (*mut T, usize) {
    let boxed = values.into_boxed_slice();
    let size = boxed.len();
    (Box::into_raw(boxed).cast(), size)
}

unsafe fn unleak<T>(data: *mut T, size: usize) {
    if !data.is_null() {
        drop(Box::from_raw(std::ptr::slice_from_raw_parts_mut(data, size)));
    }
}

pub unsafe fn input_bytes<'a>(data: *const u8, size: usize) -> &'a [u8] {
    if size == 0 {
        &[]
    } else {
        std::slice::from_raw_parts(data, size)
    }
}

pub unsafe fn input_str<'a>(data: *const u8, size: usize) -> Result<&'a str, Failure> {
    std::str::from_utf8(input_bytes(data, size))
        .map_err(|e| Failure::from(format!("text is not valid UTF-8 at byte {}", e.valid_up_to())))
}

pub unsafe fn guard(error: *mut HftError, call: impl FnOnce() -> Result<(), Failure>) -> i32 {
    let failure = match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(())) => return 0,
        Ok(Err(failure)) => failure,
        Err(panic) => {
            let text = panic
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| panic.downcast_ref::<&str>().map(|s| s.to_string()))
                .unwrap_or_default();
            Failure::from(format!("the text library panicked: {text}"))
        }
    };
    *error = HftError { message: HftText::new(failure.message), line: failure.line };
    1
}
