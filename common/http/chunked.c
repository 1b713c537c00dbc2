/* Chunked decoding, a byte at a time for the framing and whole stretches for the data. Thread: owned by its user. */
#include "common/http/chunked.h"

#include "common/core/error.h"
#include "common/core/hex.h"

#define LINE_BYTES_MAX 8192

enum {
    SIZE_FIRST,
    SIZE_MORE,
    EXTENSION,
    SIZE_LF,
    DATA,
    DATA_CR,
    DATA_LF,
    TRAILER_START,
    TRAILER_LINE,
    TRAILER_LF,
    END_LF
};

void chunked_init(struct chunked *c) {
    *c = (struct chunked){.state = SIZE_FIRST};
}

static bool add_digit(struct chunked *c, int value) {
    if (value < 0 || ++c->digits > 15) return false;
    c->left = c->left * 16 + value;
    return true;
}

static bool is_text(char ch) {
    return ((unsigned char)ch >= 0x20 && ch != 0x7f) || ch == '\t';
}

/* One byte of framing; false if it breaks the grammar. */
static bool step(struct chunked *c, char ch) {
    switch (c->state) {
    case SIZE_FIRST:
        c->left = 0;
        c->digits = 0;
        c->state = SIZE_MORE;
        return add_digit(c, hex_any(ch));
    case SIZE_MORE:
        if (ch == ';')
            c->state = EXTENSION;
        else if (ch == '\r')
            c->state = SIZE_LF;
        else
            return add_digit(c, hex_any(ch));
        return true;
    case EXTENSION:
        if (ch == '\r')
            c->state = SIZE_LF;
        else
            return is_text(ch) && ++c->line_bytes <= LINE_BYTES_MAX;
        return true;
    case SIZE_LF:
        c->state = c->left > 0 ? DATA : TRAILER_START;
        return ch == '\n';
    case DATA_CR:
        c->state = DATA_LF;
        return ch == '\r';
    case DATA_LF:
        c->state = SIZE_FIRST;
        return ch == '\n';
    case TRAILER_START:
        c->state = ch == '\r' ? END_LF : TRAILER_LINE;
        return ch == '\r' || (is_text(ch) && ch != ' ' && ch != '\t' && ++c->line_bytes <= LINE_BYTES_MAX);
    case TRAILER_LINE:
        if (ch == '\r')
            c->state = TRAILER_LF;
        else
            return is_text(ch) && ++c->line_bytes <= LINE_BYTES_MAX;
        return true;
    case TRAILER_LF:
        c->state = TRAILER_START;
        return ch == '\n';
    case END_LF:
        c->done = true;
        return ch == '\n';
    default:
        return false;
    }
}

ssize_t chunked_feed(struct chunked *c, const char *data, size_t len, const char **out, size_t *out_len) {
    *out_len = 0;
    size_t i = 0;
    while (i < len && !c->done) {
        if (c->state == DATA) {
            size_t n = len - i < (uint64_t)c->left ? len - i : (size_t)c->left;
            *out = data + i;
            *out_len = n;
            c->left -= (int64_t)n;
            if (c->left == 0) c->state = DATA_CR;
            return (ssize_t)(i + n);
        }
        if (!step(c, data[i++])) return ERR_INVALID;
    }
    return (ssize_t)i;
}

void chunked_give_back(struct chunked *c, size_t n) {
    c->left += (int64_t)n;
    c->state = DATA;
}
