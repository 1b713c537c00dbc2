/* What the catalogue says, as records that central and every replica hold in the same bytes: of a blob its size, of a
 * manifest its type and children, of a tag what it points to. A record begins with its key, and two records of one key
 * never stand side by side.
 *
 *   blob       digest (32 bytes), size (6)
 *   manifest   digest (32), size (6), media type, children: {flags, digest (32), [size], [os, arch, variant]}
 *   tag        upstream, path, tag; digest (32), size + 1, checked at (8), deleted (1), media type
 *
 * Numbers are little-endian, or varints where no width is given; texts have a length of one byte in front. What does
 * not fit into this form (sha512, sizes of 2^47 and more, manifests with more than RECORD_CHILDREN_MAX children) has no
 * record and is had by lookup. Pure. Thread: any. */
#ifndef ENTREPOT_RECORDS_RECORD_H
#define ENTREPOT_RECORDS_RECORD_H

#include "common/core/buf.h"
#include "common/records/set_digest.h"
#include "common/wire/wire.h"

enum record_kind { RECORD_TAG, RECORD_BLOB, RECORD_MANIFEST, RECORD_KINDS };

#define RECORD_DIGEST 32 /* bytes of a digest in a record */
#define RECORD_BLOB_BYTES (RECORD_DIGEST + 6)
#define RECORD_CHILDREN_MAX 2000
#define RECORD_MAX (256 * KiB) /* bytes of a record, whatever its kind */
#define EPOCH_BYTES 16
#define RECORD_TIME_MAX 253402300799 /* seconds since 1970: the end of the year 9999 */

/* Append a record. ERR_UNSUPPORTED: it has none, and nothing is appended. Of the tag warning, stale and age are left
 * out; they belong to one answer. */
int record_of_blob(struct buf *out, const struct digest *d, int64_t size) must_check;
int record_of_manifest(struct buf *out, const struct digest *d, int64_t size, const struct manifest *m) must_check;
int record_of_tag(struct buf *out, const struct repo_name *repo, const char *tag, const struct tag_facts *t) must_check;
/* Writes the key of a tag's record. Returns its length; 0: it has none. */
#define RECORD_TAG_KEY_MAX (3 * 256)
size_t record_tag_key(const struct repo_name *repo, const char *tag, uint8_t out[RECORD_TAG_KEY_MAX]);

/* The length of the key at the start of a record (or of a key alone); 0: it is malformed. */
size_t record_key_len(enum record_kind kind, const uint8_t *record, size_t len);
/* Whether it is a record, whole and well-formed, with names and sizes within their rules. */
bool record_is_sound(enum record_kind kind, const uint8_t *record, size_t len);

/* Read a sound record. */
int64_t record_blob_size(const uint8_t *record);
/* The caller calls manifest_fini(&m->doc). */
void record_read_manifest(const uint8_t *record, size_t len, struct wire_manifest *m);
void record_read_tag(const uint8_t *record, size_t len, struct wire_tag *t);

/* The key of the hash, made from the catalogue's epoch. */
struct record_secret {
    uint64_t key[4];
};
void record_secret_of(const uint8_t epoch[EPOCH_BYTES], struct record_secret *out);
void record_hash(const struct record_secret *s, enum record_kind kind, const uint8_t *record, size_t len,
                 struct set_digest *out);

/* Records are divided among tiles by their keys: tags first, then blobs, then manifests. */
#define TILES_OF_TAGS 256
#define TILES_OF_BLOBS 4096
#define TILES_OF_MANIFESTS 1024
#define TILES (TILES_OF_TAGS + TILES_OF_BLOBS + TILES_OF_MANIFESTS)
unsigned record_tile(enum record_kind kind, const uint8_t *key, size_t key_len);
enum record_kind tile_kind(unsigned tile);
/* The number of a tile among those of its kind. */
unsigned tile_within(unsigned tile);

#endif
