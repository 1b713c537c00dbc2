/* The tags of one list. Thread: one at a time. */
#include "common/serve/tag_set.h"

#include <string.h>

#include "common/core/alloc.h"
#include "common/core/buf.h"
#include "common/core/budget.h"
#include "common/core/json.h"
#include "common/core/map.h"
#include "common/oci/name.h"

#define ENTRY_BYTES 160 /* what a tag costs beside its text, twice over: here and among those seen */

static void forget(struct tag_set *s) {
    for (size_t i = 0; i < s->n; i++)
        free(s->tags[i]);
    free(s->tags);
    s->tags = NULL;
    s->n = s->cap = 0;
}

void tag_set_fini(struct tag_set *s) {
    forget(s);
    if (s->seen) map_free(s->seen);
    budget_give(BUDGET_LISTS, s->charged);
    *s = (struct tag_set){0};
}

#define CHARGE_STEP (256 * KiB)

static bool take_room(struct tag_set *s) {
    if ((int64_t)s->bytes <= s->charged) return true;
    if (!budget_take(BUDGET_LISTS, CHARGE_STEP)) return false;
    s->charged += CHARGE_STEP;
    return true;
}

/* Most lists come in order, and then the last tag tells whether the next is new: looking up 100,000 of them takes as
 * long as reading them. From here on they are looked up. */
static void remember_all(struct tag_set *s) {
    if (s->seen) return;
    s->seen = map_new(NULL);
    for (size_t i = 0; i < s->n; i++)
        map_set_s(s->seen, s->tags[i], s);
}

static bool is_there(struct tag_set *s, const char *tag, size_t len) {
    if (!s->seen && (s->n == 0 || strcmp(tag, s->tags[s->n - 1]) > 0)) return false;
    remember_all(s);
    return map_get(s->seen, tag, len) != NULL;
}

int tag_set_add(struct tag_set *s, const char *tag, bool *added) {
    size_t len = strlen(tag);
    *added = false;
    if (tag_check(tag, len) < 0 || is_there(s, tag, len)) return 0;
    s->bytes += 2 * len + ENTRY_BYTES;
    if (s->bytes > TAG_SET_BYTES_MAX) return ERR_TOO_BIG;
    if (!take_room(s)) return ERR_BUSY;
    if (s->n == s->cap) {
        s->cap = s->cap ? s->cap * 2 : 64;
        s->tags = xrealloc(s->tags, s->cap, sizeof(*s->tags));
    }
    s->tags[s->n++] = xstrdup(tag);
    if (s->seen) map_set(s->seen, tag, len, s);
    *added = true;
    return 0;
}

int tag_set_read(struct tag_set *s, const char *page, size_t len, size_t *added) {
    struct json_doc d;
    *added = 0;
    int r = json_open(&d, page, len, 0);
    if (r < 0) return r;
    json_t *doc = d.root, *list = json_object_get(doc, "tags"), *tag;
    /* Some leave out an empty list. An error document, or any other, has neither. */
    bool good = list ? json_is_array(list) || json_is_null(list) : json_is_string(json_object_get(doc, "name"));
    r = good ? 0 : ERR_INVALID;
    size_t i;
    json_array_foreach(list, i, tag) {
        const char *text = json_string_value(tag);
        bool fresh = false;
        if (text && r == 0) r = tag_set_add(s, text, &fresh);
        *added += fresh;
    }
    json_close(&d);
    return r;
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void tag_set_sort(struct tag_set *s) {
    if (s->n > 0 && s->seen) qsort(s->tags, s->n, sizeof(*s->tags), by_name);
}

int64_t tag_set_text_len(const struct tag_set *s, size_t first, size_t n) {
    int64_t len = 0;
    for (size_t i = first; i < first + n; i++)
        len += (int64_t)strlen(s->tags[i]) + 3;
    return len;
}

void tag_set_write(const struct tag_set *s, size_t from, size_t n, bool first, struct buf *b) {
    for (size_t i = from; i < from + n; i++) {
        const char *before = first && i == from ? "\"" : ",\"";
        /* A tag holds no character that JSON would escape. */
        if (buf_add_str(b, before) < 0 || buf_add_str(b, s->tags[i]) < 0 || buf_add(b, "\"", 1) < 0) out_of_memory();
    }
}

char *tag_set_take(struct tag_set *s, bool first) {
    struct buf b;
    buf_init(&b, 2 * TAG_SET_BYTES_MAX);
    tag_set_write(s, 0, s->n, first, &b);
    remember_all(s); /* for what follows */
    forget(s);
    if (b.len > 0) return buf_steal(&b, NULL);
    buf_fini(&b);
    return NULL;
}
