/* Parses YAML text into a tree whose values know their place, from libyaml's events. Thread: main. */
#include "common/config/config_tree.h"

#include "common/core/alloc.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <yaml.h>

struct config_node *config_node_new(enum config_node_kind kind, const struct config_place *place, const char *text) {
    struct config_node *n = xcalloc(1, sizeof *n);
    n->kind = kind;
    n->place = *place;
    if (text) n->text = xstrdup(text);
    return n;
}

void config_tree_free(struct config_node *n) {
    if (!n) return;
    for (size_t i = 0; i < n->n; i++) {
        config_tree_free(n->items[i]);
        if (n->keys) free(n->keys[i].name);
    }
    free(n->items);
    free(n->keys);
    free(n->text);
    free(n);
}

void config_tree_freep(struct config_node **n) {
    config_tree_free(*n);
}

bool config_node_is_null(const struct config_node *n) {
    if (!n) return true;
    if (n->kind != CONFIG_NODE_SCALAR || n->quoted) return false;
    return !n->text[0] || !strcmp(n->text, "~") || !strcmp(n->text, "null");
}

struct config_node *config_map_get(const struct config_node *map, const char *key) {
    for (size_t i = 0; map && map->kind == CONFIG_NODE_MAP && i < map->n; i++) {
        if (!strcmp(map->keys[i].name, key)) return map->items[i];
    }
    return NULL;
}

void config_node_add(struct config_node *parent, const char *key, const struct config_place *key_place,
                     struct config_node *value) {
    if ((parent->n & (parent->n - 1)) == 0) { /* the array is full at every power of two */
        size_t cap = parent->n ? parent->n * 2 : 1;
        parent->items = xrealloc(parent->items, cap, sizeof *parent->items);
        if (key) {
            parent->keys = xrealloc(parent->keys, cap, sizeof *parent->keys);
        }
    }
    if (key) {
        struct config_entry_key *k = &parent->keys[parent->n];
        *k = (struct config_entry_key){.name = xstrdup(key), .place = *key_place};
    }
    parent->items[parent->n++] = value;
}

int config_error_wrap(struct error *err, const struct config_place *place) {
    if (!place || !place->origin) return err ? err->code : ERR_INVALID;
    if (place->is_set) return error_wrap(err, "--set %.120s", place->origin);
    return error_wrap(err, "%.200s:%u:%u", place->origin, place->line, place->column);
}

int config_error(struct error *err, const struct config_place *place, const char *fmt, ...) {
    char msg[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(msg, sizeof msg, fmt, ap);
    va_end(ap);
    error_set(err, ERR_INVALID, "%s", msg);
    config_error_wrap(err, place);
    return ERR_INVALID;
}

/* --- reading --- */

struct reader {
    yaml_parser_t yaml;
    const char *text; /* all of it, len bytes */
    size_t len;
    const struct config_place *base;
    struct error *err;
    void (*each)(const struct error *err, void *arg); /* called for a repeated key; NULL: a repeated key ends parsing */
    void *arg;
    unsigned nodes;
    unsigned depth;
    struct config_node *open[CONFIG_DEPTH_MAX]; /* lists and maps not yet closed */
    char *key[CONFIG_DEPTH_MAX];                /* map: the key whose value comes next */
    struct config_place key_place[CONFIG_DEPTH_MAX];
    struct config_node *root;
};

static struct config_place place_at(const struct config_place *base, const yaml_mark_t *m) {
    return (struct config_place){.origin = base->origin,
                                 .is_set = base->is_set,
                                 .line = (unsigned)m->line + 1,
                                 .column = (unsigned)m->column + 1};
}

/* The length of the UTF-8 sequence at s (RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF), 0 if
 * there is none. */
static size_t utf8_len(const unsigned char *s, size_t left) {
    unsigned char lo = 0x80, hi = 0xbf;
    size_t len;
    if (s[0] < 0x80) return 1;
    if (s[0] >= 0xc2 && s[0] <= 0xdf) {
        len = 2;
    } else if (s[0] >= 0xe0 && s[0] <= 0xef) {
        len = 3;
        if (s[0] == 0xe0) lo = 0xa0;
        if (s[0] == 0xed) hi = 0x9f;
    } else if (s[0] >= 0xf0 && s[0] <= 0xf4) {
        len = 4;
        if (s[0] == 0xf0) lo = 0x90;
        if (s[0] == 0xf4) hi = 0x8f;
    } else {
        return 0;
    }
    if (left < len || s[1] < lo || s[1] > hi) return 0;
    for (size_t i = 2; i < len; i++) {
        if (s[i] < 0x80 || s[i] > 0xbf) return 0;
    }
    return len;
}

/* libyaml would accept UTF-16 and end at a NUL; both are refused here with a clear message. */
int config_text_check(const char *text, size_t len, const struct config_place *base, struct error *err) {
    struct config_place at = {.origin = base->origin, .is_set = base->is_set, .line = 1, .column = 1};
    if (len > CONFIG_TEXT_MAX) return config_error(err, &at, "longer than %zu bytes", CONFIG_TEXT_MAX);
    const unsigned char *s = (const unsigned char *)text;
    for (size_t i = 0; i < len;) {
        size_t n = utf8_len(s + i, len - i);
        if (n == 0) return config_error(err, &at, "byte 0x%02x is not valid UTF-8", s[i]);
        if ((s[i] < 0x20 && s[i] != '\n' && s[i] != '\r' && s[i] != '\t') || s[i] == 0x7f)
            return config_error(err, &at, "control character 0x%02x", s[i]);
        at.column++;
        if (s[i] == '\n') {
            at.line++;
            at.column = 1;
        }
        i += n;
    }
    return 0;
}

/* Adds a finished value to the open map or list. */
static int reader_attach(struct reader *rd, struct config_node *n) {
    if (rd->depth == 0) {
        rd->root = n;
        return 0;
    }
    unsigned top = rd->depth - 1;
    struct config_node *parent = rd->open[top];
    if (parent->kind == CONFIG_NODE_LIST) {
        config_node_add(parent, NULL, NULL, n);
        return 0;
    }
    if (rd->key[top]) {
        config_node_add(parent, rd->key[top], &rd->key_place[top], n);
        free(rd->key[top]);
        rd->key[top] = NULL;
        return 0;
    }
    /* In a map without a pending key this value is the next key. */
    struct config_place at = n->place;
    int r = 0;
    if (n->kind != CONFIG_NODE_SCALAR) {
        r = config_error(rd->err, &at, "a key must be a word, not a list or mapping");
    } else {
        for (size_t i = 0; i < parent->n && r == 0; i++) {
            if (!strcmp(parent->keys[i].name, n->text)) {
                r = config_error(rd->err, &at, "key \"%.64s\" is given twice; it was set before at line %u", n->text,
                                 parent->keys[i].place.line);
            }
        }
        if (r < 0 && rd->each) {
            rd->each(rd->err, rd->arg);
            *rd->err = (struct error){0};
            r = 0; /* config_map_get finds the first */
        }
    }
    if (r == 0) {
        rd->key[top] = n->text;
        n->text = NULL;
        rd->key_place[top] = at;
    }
    config_tree_free(n);
    return r;
}

static int reader_open(struct reader *rd, enum config_node_kind kind, const struct config_place *at) {
    if (rd->depth == CONFIG_DEPTH_MAX) return config_error(rd->err, at, "nested more than %u deep", CONFIG_DEPTH_MAX);
    bool is_key = rd->depth && rd->open[rd->depth - 1]->kind == CONFIG_NODE_MAP && !rd->key[rd->depth - 1];
    struct config_node *n = config_node_new(kind, at, NULL);
    if (is_key) return reader_attach(rd, n); /* refuses it */
    rd->key[rd->depth] = NULL;
    rd->open[rd->depth++] = n;
    return 0;
}

static int reader_close(struct reader *rd) {
    struct config_node *n = rd->open[--rd->depth];
    return reader_attach(rd, n);
}

static int reader_scalar(struct reader *rd, const yaml_event_t *ev, const struct config_place *at) {
    const char *text = (const char *)ev->data.scalar.value;
    if (strlen(text) != ev->data.scalar.length) return config_error(rd->err, at, "a NUL character in a value");
    for (const char *p = text; *p; p++) {
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            return config_error(rd->err, at, "a line break or control character in a value");
    }
    struct config_node *n = config_node_new(CONFIG_NODE_SCALAR, at, text);
    n->quoted = ev->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    return reader_attach(rd, n);
}

static bool event_has_anchor(const yaml_event_t *ev) {
    return ev->type == YAML_ALIAS_EVENT || (ev->type == YAML_SCALAR_EVENT && ev->data.scalar.anchor) ||
           (ev->type == YAML_SEQUENCE_START_EVENT && ev->data.sequence_start.anchor) ||
           (ev->type == YAML_MAPPING_START_EVENT && ev->data.mapping_start.anchor);
}

static bool event_has_tag(const yaml_event_t *ev) {
    return (ev->type == YAML_SCALAR_EVENT && ev->data.scalar.tag) ||
           (ev->type == YAML_SEQUENCE_START_EVENT && ev->data.sequence_start.tag) ||
           (ev->type == YAML_MAPPING_START_EVENT && ev->data.mapping_start.tag);
}

static int reader_event(struct reader *rd, const yaml_event_t *ev) {
    struct config_place at = place_at(rd->base, &ev->start_mark);
    if (event_has_anchor(ev))
        return config_error(rd->err, &at,
                            "anchors (&) and aliases (*) are not supported; quote a value that begins so");
    if (event_has_tag(ev))
        return config_error(rd->err, &at, "tags (!) are not supported; quote a value that begins so");
    switch (ev->type) {
    case YAML_DOCUMENT_START_EVENT:
        if (rd->root) return config_error(rd->err, &at, "a second document; one file holds one");
        return 0;
    case YAML_SCALAR_EVENT:
    case YAML_SEQUENCE_START_EVENT:
    case YAML_MAPPING_START_EVENT:
        if (++rd->nodes > CONFIG_NODES_MAX) return config_error(rd->err, &at, "more than %u values", CONFIG_NODES_MAX);
        if (ev->type == YAML_SCALAR_EVENT) return reader_scalar(rd, ev, &at);
        return reader_open(rd, ev->type == YAML_MAPPING_START_EVENT ? CONFIG_NODE_MAP : CONFIG_NODE_LIST, &at);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        return reader_close(rd);
    default:
        return 0;
    }
}

/* line: from 0. libyaml only says that the tab "cannot start any token". */
static bool is_indented_by_tab(const struct reader *rd, size_t line) {
    const char *p = rd->text, *end = rd->text + rd->len;
    for (; line > 0 && p; line--) {
        p = memchr(p, '\n', (size_t)(end - p));
        if (p) p++;
    }
    while (p && p < end && *p == ' ')
        p++;
    return p && p < end && *p == '\t';
}

static int reader_run(struct reader *rd) {
    for (;;) {
        yaml_event_t ev;
        if (!yaml_parser_parse(&rd->yaml, &ev)) {
            if (rd->yaml.error == YAML_MEMORY_ERROR) out_of_memory();
            struct config_place at = place_at(rd->base, &rd->yaml.problem_mark);
            if (is_indented_by_tab(rd, rd->yaml.problem_mark.line))
                return config_error(rd->err, &at, "not valid YAML: a tab indents this line; indent it with spaces");
            if (rd->yaml.problem && strstr(rd->yaml.problem, "mapping values are not allowed")) {
                config_error(rd->err, &at, "not valid YAML: a key cannot stand here, but a colon makes it one");
                error_hint(rd->err,
                           "begin each key on a line of its own, with the same indentation; quote a value that "
                           "holds \": \"");
                return ERR_INVALID;
            }
            return config_error(rd->err, &at, "not valid YAML: %s%s%s",
                                rd->yaml.problem ? rd->yaml.problem : "unreadable", rd->yaml.context ? ", " : "",
                                rd->yaml.context ? rd->yaml.context : "");
        }
        bool end = ev.type == YAML_STREAM_END_EVENT;
        int r = reader_event(rd, &ev);
        yaml_event_delete(&ev);
        if (r < 0 || end) return r;
    }
}

int config_tree_parse(const char *text, size_t len, const struct config_place *base, struct config_node **out,
                      struct error *err) {
    return config_tree_parse_all(text, len, base, out, NULL, NULL, err);
}

int config_tree_parse_all(const char *text, size_t len, const struct config_place *base, struct config_node **out,
                          void (*each)(const struct error *err, void *arg), void *arg, struct error *err) {
    *out = NULL;
    int r = config_text_check(text, len, base, err);
    if (r < 0) return r;
    struct reader rd = {.text = text, .len = len, .base = base, .err = err, .each = each, .arg = arg};
    if (!yaml_parser_initialize(&rd.yaml)) out_of_memory();
    yaml_parser_set_encoding(&rd.yaml, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&rd.yaml, (const unsigned char *)text, len);
    r = reader_run(&rd);
    yaml_parser_delete(&rd.yaml);
    for (unsigned i = 0; i < rd.depth; i++) { /* left open by an error */
        config_tree_free(rd.open[i]);
        free(rd.key[i]);
    }
    if (r < 0) {
        config_tree_free(rd.root);
        return r;
    }
    *out = rd.root;
    return 0;
}
