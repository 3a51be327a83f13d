//! `strftime_now`: the caller's clock in local time, formatted by the C library as Python's datetime does.

use std::ffi::CString;

pub fn strftime(format: &str, unix_seconds: i64) -> Option<String> {
    let format = CString::new(format).ok()?;
    let seconds = unix_seconds as libc::time_t;
    let mut buffer = vec![0u8; 1024];
    // SAFETY: localtime_r fills `parts`; strftime writes at most buffer.len() bytes.
    let size = unsafe {
        let mut parts: libc::tm = std::mem::zeroed();
        if libc::localtime_r(&seconds, &mut parts).is_null() {
            return None;
        }
        libc::strftime(buffer.as_mut_ptr().cast(), buffer.len(), format.as_ptr(), &parts)
    };
    buffer.truncate(size);
    String::from_utf8(buffer).ok()
}
