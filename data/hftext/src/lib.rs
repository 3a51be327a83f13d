//! C ABI over the `tokenizers`, `minijinja` and `parquet` crates; the contract is `hftext.h`. No panic crosses it.

mod abi;
mod chat;
mod clock;
mod generation;
mod parquet_pages;
mod parquet_rows;
mod pyjson;

use abi::{guard, input_bytes, input_str, HftEncoding, HftError, HftText};
use chat::ChatTemplate;
use parquet_rows::ParquetRows;
use tokenizers::Tokenizer;

/// Tokenizing allocates a few small objects a token on every core at once, which takes the C library's allocator almost
/// half of the time. It serves this library's own memory only.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// # Safety
/// Pointers are valid for their sizes; `out` is writable.
#[no_mangle]
pub unsafe extern "C" fn hft_tokenizer_load(
    json: *const u8,
    size: usize,
    out: *mut *mut Tokenizer,
    error: *mut HftError,
) -> i32 {
    guard(error, || {
        let mut tokenizer =
            Tokenizer::from_bytes(input_bytes(json, size)).map_err(|e| e.to_string())?;
        // The file's own limits would cut or pad rows behind the caller's back.
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None).map_err(|e| e.to_string())?;
        *out = Box::into_raw(Box::new(tokenizer));
        Ok(())
    })
}

/// # Safety
/// `tokenizer` came from `hft_tokenizer_load` and is not used afterwards.
#[no_mangle]
pub unsafe extern "C" fn hft_tokenizer_free(tokenizer: *mut Tokenizer) {
    if !tokenizer.is_null() {
        drop(Box::from_raw(tokenizer));
    }
}

/// # Safety
/// As `hft_tokenizer_load`.
#[no_mangle]
pub unsafe extern "C" fn hft_encode(
    tokenizer: *const Tokenizer,
    text: *const u8,
    size: usize,
    add_special_tokens: i32,
    out: *mut HftEncoding,
    error: *mut HftError,
) -> i32 {
    guard(error, || {
        let text = input_str(text, size)?;
        let encoding =
            (*tokenizer).encode(text, add_special_tokens != 0).map_err(|e| e.to_string())?;
        *out = HftEncoding::new(encoding.get_ids(), encoding.get_offsets());
        Ok(())
    })
}

/// # Safety
/// As `hft_tokenizer_load`.
#[no_mangle]
pub unsafe extern "C" fn hft_decode(
    tokenizer: *const Tokenizer,
    ids: *const u32,
    size: usize,
    skip_special_tokens: i32,
    out: *mut HftText,
    error: *mut HftError,
) -> i32 {
    guard(error, || {
        let ids = if size == 0 { &[] } else { std::slice::from_raw_parts(ids, size) };
        let text = (*tokenizer).decode(ids, skip_special_tokens != 0).map_err(|e| e.to_string())?;
        *out = HftText::new(text);
        Ok(())
    })
}

/// Returns -1 for an unknown token.
///
/// # Safety
/// As `hft_tokenizer_load`.
#[no_mangle]
pub unsafe extern "C" fn hft_token_to_id(
    tokenizer: *const Tokenizer,
    token: *const u8,
    size: usize,
) -> i64 {
    let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        input_str(token, size).ok().and_then(|t| (*tokenizer).token_to_id(t))
    }));
    found.ok().flatten().map_or(-1, i64::from)
}

/// # Safety
/// As `hft_tokenizer_load`.
#[no_mangle]
pub unsafe extern "C" fn hft_is_special(tokenizer: *const Tokenizer, id: u32) -> i32 {
    let special = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        (*tokenizer)
            .get_added_vocabulary()
            .get_added_tokens_decoder()
            .get(&id)
            .is_some_and(|t| t.special)
    }));
    i32::from(special.unwrap_or(false))
}

/// # Safety
/// As `hft_tokenizer_load`.
#[no_mangle]
pub unsafe extern "C" fn hft_vocab_size(tokenizer: *const Tokenizer) -> u64 {
    let size = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        (*tokenizer).get_vocab_size(true) as u64
    }));
    size.unwrap_or(0)
}

/// # Safety
/// As `hft_tokenizer_load`.
#[no_mangle]
pub unsafe extern "C" fn hft_template_compile(
    source: *const u8,
    size: usize,
    out: *mut *mut ChatTemplate,
    error: *mut HftError,
) -> i32 {
    guard(error, || {
        let template = ChatTemplate::compile(input_str(source, size)?)?;
        *out = Box::into_raw(Box::new(template));
        Ok(())
    })
}

/// # Safety
/// `template` came from `hft_template_compile` and is not used afterwards.
#[no_mangle]
pub unsafe extern "C" fn hft_template_free(template: *mut ChatTemplate) {
    if !template.is_null() {
        drop(Box::from_raw(template));
    }
}

/// # Safety
/// As `hft_tokenizer_load`.
#[no_mangle]
pub unsafe extern "C" fn hft_template_has_generation(template: *const ChatTemplate) -> i32 {
    i32::from((*template).has_generation())
}

/// # Safety
/// As `hft_tokenizer_load`.
#[no_mangle]
pub unsafe extern "C" fn hft_template_render(
    template: *const ChatTemplate,
    context_json: *const u8,
    size: usize,
    now_unix: i64,
    out_text: *mut HftText,
    out_spans: *mut HftEncoding,
    error: *mut HftError,
) -> i32 {
    guard(error, || {
        let (text, spans) = (*template).render(input_str(context_json, size)?, now_unix)?;
        *out_text = HftText::new(text);
        *out_spans = HftEncoding::new(&[], &spans);
        Ok(())
    })
}

/// # Safety
/// As `hft_tokenizer_load`.
#[no_mangle]
pub unsafe extern "C" fn hft_parquet_open(
    path: *const u8,
    path_size: usize,
    columns: *const u8,
    columns_size: usize,
    out: *mut *mut ParquetRows,
    error: *mut HftError,
) -> i32 {
    guard(error, || {
        let names = input_str(columns, columns_size)?;
        let names = names.split('\0').filter(|n| !n.is_empty()).map(str::to_string).collect();
        let rows = ParquetRows::open(input_str(path, path_size)?, names)?;
        *out = Box::into_raw(Box::new(rows));
        Ok(())
    })
}

/// # Safety
/// `rows` came from `hft_parquet_open`; one thread at a time.
#[no_mangle]
pub unsafe extern "C" fn hft_parquet_next(
    rows: *mut ParquetRows,
    max_bytes: usize,
    out: *mut HftText,
    error: *mut HftError,
) -> i32 {
    guard(error, || {
        *out = HftText::new((*rows).next_batch(max_bytes)?);
        Ok(())
    })
}

/// # Safety
/// `rows` came from `hft_parquet_open` and is not used afterwards.
#[no_mangle]
pub unsafe extern "C" fn hft_parquet_free(rows: *mut ParquetRows) {
    if !rows.is_null() {
        drop(Box::from_raw(rows));
    }
}

/// # Safety
/// `text` was filled by this library and is not used afterwards.
#[no_mangle]
pub unsafe extern "C" fn hft_text_free(text: HftText) {
    text.release();
}

/// # Safety
/// `encoding` was filled by this library and is not used afterwards.
#[no_mangle]
pub unsafe extern "C" fn hft_encoding_free(encoding: HftEncoding) {
    encoding.release();
}
