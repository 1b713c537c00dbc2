/* What an edge reads of the change log: messages of the watch, lists of tiles, tiles, and the stream as the replica
 * follows it. What is accepted is sound, and encodes to what decodes again. The first byte chooses. */
#include "common/records/messages.h"
#include "common/records/tile_body.h"
#include "edge/replica/follow.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static void check_message(const uint8_t *data, size_t size) {
    struct watch_message m, again;
    struct buf out;
    size_t at, len;
    buf_init(&out, 0);
    if (watch_message_decode(&m, data, size) == 0) {
        for (size_t i = 0; i < m.n_changes; i++) {
            const struct watch_change *c = &m.changes[i];
            assert(c->removed || record_is_sound(c->kind, c->record, c->len));
        }
        assert(watch_message_add(&out, &m) == 0);
        assert(message_next(out.data, out.len, WATCH_MESSAGE_MAX, &at, &len) == 0);
        assert(watch_message_decode(&again, out.data + at, len) == 0 && again.n_changes == m.n_changes);
        watch_message_fini(&again);
    }
    watch_message_fini(&m);
    buf_fini(&out);
}

static void check_list(const uint8_t *data, size_t size) {
    struct tile_list t;
    if (tile_list_decode(&t, data, size) == 0) {
        for (size_t i = 1; i < t.n; i++)
            assert(t.tiles[i].tile > t.tiles[i - 1].tile && t.tiles[i].tile < TILES);
    }
    tile_list_fini(&t);
}

static void check_tile(unsigned tile, const uint8_t *data, size_t size) {
    struct tile_records t, back;
    struct buf body;
    tile_records_init(&t, tile_kind(tile));
    tile_records_init(&back, tile_kind(tile));
    buf_init(&body, 0);
    if (tile_body_unpack(tile, data, size, NULL, &t) == 0) {
        for (size_t i = 0; i < t.n; i++) {
            size_t len;
            const uint8_t *record = tile_record(&t, i, &len);
            assert(record_is_sound(t.kind, record, len));
            assert(record_tile(t.kind, record, record_key_len(t.kind, record, len)) == tile);
        }
        assert(tile_body_pack(&t, NULL, &body) == 0 && tile_body_unpack(tile, body.data, body.len, NULL, &back) == 0);
        assert(back.n == t.n && back.bytes.len == t.bytes.len);
    }
    tile_records_fini(&t);
    tile_records_fini(&back);
    buf_fini(&body);
}

static void want_list(void *arg) {
    (void)arg;
}

static void want_tiles(const unsigned *tiles, size_t n, bool full, void *arg) {
    (void)tiles, (void)full, (void)arg;
    assert(n > 0 && n <= FOLLOW_TILES_MAX);
}

static void restart(void *arg) {
    *(bool *)arg = true;
}

/* The stream in two parts, and what is left as the answer to whatever was asked for. */
static void check_stream(const uint8_t *data, size_t size) {
    bool over = false;
    char from[PLACE_TEXT_MAX];
    struct replica *r = replica_new(MiB);
    struct follow *f = follow_new(&(struct follow_config){
        .replica = r, .want_list = want_list, .want_tiles = want_tiles, .restart = restart, .arg = &over});
    size_t first = size / 3, second = size / 3;
    follow_begin(f, 1);
    follow_data(f, data, first);
    if (!over) follow_data(f, data + first, second);
    follow_list(f, data + first + second, size - first - second);
    follow_tile(f, data, size);
    follow_from(f, from);
    follow_end(f);
    follow_free(f);
    replica_free(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct place p;
    char text[PLACE_TEXT_MAX];
    if (size < 3) return 0;
    unsigned tile = ((unsigned)data[1] << 8 | data[2]) % TILES;
    switch (data[0] % 5) {
    case 0:
        check_message(data + 1, size - 1);
        break;
    case 1:
        check_list(data + 1, size - 1);
        break;
    case 2:
        check_tile(tile, data + 3, size - 3);
        break;
    case 3:
        check_stream(data + 1, size - 1);
        break;
    default:
        memset(text, 0, sizeof(text));
        memcpy(text, data + 1, size - 1 < sizeof(text) - 1 ? size - 1 : sizeof(text) - 1);
        if (place_parse(text, &p) == 0) assert(place_text(&p, text) == text && place_parse(text, &p) == 0);
    }
    return 0;
}
