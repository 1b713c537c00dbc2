/* Content digests ("sha256:…", "sha512:…") as values, and hashing in pieces. Thread: any (values; a hasher has one
 * owner). Implements image-spec descriptor.md "Digests". */
#ifndef ENTREPOT_CORE_DIGEST_H
#define ENTREPOT_CORE_DIGEST_H

#include "common/core/base.h"

enum digest_alg { DIGEST_NONE = 0, DIGEST_SHA256 = 1, DIGEST_SHA512 = 2 };

#define DIGEST_MAX_BYTES 64
#define DIGEST_STR_MAX (7 + 128 + 1) /* "sha512:" + hex + NUL */

struct digest {
    uint8_t alg;                     /* enum digest_alg; DIGEST_NONE: unset */
    uint8_t bytes[DIGEST_MAX_BYTES]; /* unused tail is zero, so digests compare with memcmp */
};

/* Raw length in bytes of an algorithm's digest: 32, 64, or 0. */
size_t digest_len(enum digest_alg alg);
/* "sha256" / "sha512". */
const char *digest_alg_name(enum digest_alg alg);
/* Strict: lower-case hex of the right length, nothing after. ERR_UNSUPPORTED when it fits the OCI grammar but the
 * algorithm is not one of ours; ERR_INVALID otherwise. s need not be NUL-terminated. */
int digest_parse(struct digest *d, const char *s, size_t len) must_check;
/* Writes "alg:hex" and NUL; returns out. */
char *digest_str(const struct digest *d, char out[DIGEST_STR_MAX]);
/* Writes lower-case hex and NUL; returns out. */
char *digest_hex(const struct digest *d, char out[DIGEST_STR_MAX]);
bool digest_eq(const struct digest *a, const struct digest *b);
/* From a bare algorithm byte and its raw bytes (wire, SQLite). ERR_INVALID on a wrong length. */
int digest_from_bytes(struct digest *d, enum digest_alg alg, const void *bytes, size_t len) must_check;

/* The largest size of a blob that is accepted from anyone. Up to here a JSON number is exact, and positions in a blob
 * can be added without overflow. */
#define BLOB_SIZE_MAX (1LL << 53)

/* A piece is 4 MiB of a blob. Its proof is the hash's chaining value (FIPS 180-4, H(i)) at the end of the piece. With
 * the chaining value at its start, a piece can be proved alone. The running hash of a blob passes through all these
 * values, so one pass over the bytes proves every piece and the whole. The proof of the last piece is the digest
 * itself, so it is not listed. */
#define PIECE_SIZE (4LL * 1024 * 1024)
#define PIECE_PROOF_MAX 64

/* Start and end (exclusive) of the piece that contains the byte at pos. */
static inline int64_t piece_start(int64_t pos) {
    return pos / PIECE_SIZE * PIECE_SIZE;
}
static inline int64_t piece_end(int64_t pos) {
    return piece_start(pos) + PIECE_SIZE;
}

struct hasher {
    enum digest_alg alg;
    uint64_t len; /* bytes hashed so far */
    _Alignas(16) unsigned char state[256];
};
void hasher_init(struct hasher *h, enum digest_alg alg);
void hasher_update(struct hasher *h, const void *data, size_t len);
/* The digest of all bytes so far. h cannot be used afterwards. */
void hasher_final(struct hasher *h, struct digest *out);
/* The chaining value at this point, which must be a multiple of the block size (as PIECE_SIZE is). Writes
 * digest_len(alg) bytes. */
void hasher_proof(const struct hasher *h, uint8_t out[PIECE_PROOF_MAX]);
/* Continues a hash in the middle of a blob, after `len` bytes (a multiple of PIECE_SIZE) whose chaining value is
 * `proof`. */
void hasher_resume(struct hasher *h, enum digest_alg alg, uint64_t len, const uint8_t *proof);
/* The digest of len bytes in one call. */
void digest_of(struct digest *out, enum digest_alg alg, const void *data, size_t len);

#endif
