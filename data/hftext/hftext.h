/* Hugging Face tokenization and chat templates, and rows of Parquet files: a C ABI over the Rust
 * crates `tokenizers`, `minijinja` and `parquet`.
 *
 * All text is UTF-8, pointer and size, not NUL-terminated. Calls that can fail return 0, or 1 with
 * *error filled (free its message). A tokenizer and a template may be used by several threads at
 * once. No call throws or panics. */
#ifndef HONE_DATA_HFTEXT_HFTEXT_H_
#define HONE_DATA_HFTEXT_HFTEXT_H_

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct hft_tokenizer hft_tokenizer;
typedef struct hft_template hft_template;
typedef struct hft_parquet hft_parquet;

/* Owned by the library: free with hft_text_free. */
typedef struct {
  char* data;
  size_t size;
} hft_text;

/* Token ids, or spans of a rendered text (then num_ids is 0): free with hft_encoding_free. */
typedef struct {
  uint32_t* ids;
  size_t num_ids;
  uint64_t* offsets; /* num_offsets pairs of byte positions: begin, end */
  size_t num_offsets;
} hft_encoding;

typedef struct {
  hft_text message;
  uint32_t line; /* of the template, from 1; 0 where there is none */
} hft_error;

/* The content of a tokenizer.json. Its padding and truncation settings are switched off. */
int hft_tokenizer_load(const char* json, size_t size, hft_tokenizer** out, hft_error* error);
void hft_tokenizer_free(hft_tokenizer* tokenizer);
int hft_encode(const hft_tokenizer* tokenizer, const char* text, size_t size,
               int add_special_tokens, hft_encoding* out, hft_error* error);
int hft_decode(const hft_tokenizer* tokenizer, const uint32_t* ids, size_t size,
               int skip_special_tokens, hft_text* out, hft_error* error);
int64_t hft_token_to_id(const hft_tokenizer* tokenizer, const char* token, size_t size); /* or -1 */
/* Whether the file lists this id among its added tokens as special. */
int hft_is_special(const hft_tokenizer* tokenizer, uint32_t id);
uint64_t hft_vocab_size(const hft_tokenizer* tokenizer); /* with added tokens */

int hft_template_compile(const char* source, size_t size, hft_template** out, hft_error* error);
void hft_template_free(hft_template* chat_template);
/* Whether the template has {% generation %} blocks. */
int hft_template_has_generation(const hft_template* chat_template);
/* `context` is a JSON object: messages, add_generation_prompt, bos_token, ... `now_unix` is what
 * strftime_now reads. `out_spans` holds the byte ranges of `out_text` inside generation blocks.
 * Fails when the template raises, or exceeds its budget of steps, memory, output (16 MiB) or
 * recursion. */
int hft_template_render(const hft_template* chat_template, const char* context, size_t size,
                        int64_t now_unix, hft_text* out_text, hft_encoding* out_spans,
                        hft_error* error);

/* `columns`: names separated by NUL, of the root columns to read; all if none of them is there. */
int hft_parquet_open(const char* path, size_t path_size, const char* columns, size_t columns_size,
                     hft_parquet** out, hft_error* error);
/* The next rows as JSON objects, one a line, about max_bytes of them; empty at the end. When a row
 * can't be read the rows before it come first and the next call fails, and so do all after it. Page
 * sizes are checked before they are believed; a row has at most 16 MiB. One thread at a time. */
int hft_parquet_next(hft_parquet* rows, size_t max_bytes, hft_text* out, hft_error* error);
void hft_parquet_free(hft_parquet* rows);

void hft_text_free(hft_text text);
void hft_encoding_free(hft_encoding encoding);

#ifdef __cplusplus
}
#endif

#endif /* HONE_DATA_HFTEXT_HFTEXT_H_ */
