/* A YAML text as a small tree in which every value knows its place in the file. Parsing is strict and bounded: one
 * document, no anchors or aliases (so no alias can multiply), no tags, no duplicate keys, valid UTF-8 without control
 * characters, at most CONFIG_TEXT_MAX bytes, CONFIG_NODES_MAX values and CONFIG_DEPTH_MAX levels. It is built from
 * libyaml's events, because libyaml's document would be complete in memory before any of this could be refused. Thread:
 * main. */
#ifndef ENTREPOT_CONFIG_CONFIG_TREE_H
#define ENTREPOT_CONFIG_CONFIG_TREE_H

#include "common/core/error.h"

#define CONFIG_TEXT_MAX ((size_t)(1 << 20))
#define CONFIG_NODES_MAX 100000u
#define CONFIG_DEPTH_MAX 16u

enum config_node_kind { CONFIG_NODE_SCALAR, CONFIG_NODE_LIST, CONFIG_NODE_MAP };

/* Where a value was written. origin: a file name, or a --set argument as given, or NULL for a built-in default;
 * borrowed. */
struct config_place {
    const char *origin;
    bool is_set;           /* origin is a --set argument: line and column say nothing */
    unsigned line, column; /* from 1 */
};

struct config_node {
    enum config_node_kind kind;
    struct config_place place;
    char *text;                 /* scalar */
    bool quoted;                /* scalar: was quoted or a block, so that "null" and "" are strings */
    size_t n;                   /* list and map */
    struct config_node **items; /* values; owned */
    struct config_entry_key {
        char *name;
        struct config_place place;
    } * keys; /* map: n of them */
};

/* Refuses a text that is too long, is not UTF-8 or contains control characters other than line breaks and tabs.
 * ERR_INVALID, ERR_TOO_BIG. */
int config_text_check(const char *text, size_t len, const struct config_place *base, struct error *err) must_check;
/* Parses a text. *out is NULL for an empty text; the caller frees it. base gives origin and is_set of every value. */
int config_tree_parse(const char *text, size_t len, const struct config_place *base, struct config_node **out,
                      struct error *err) must_check;
/* The same. If each is not NULL, a repeated key is reported to it, the first value stands, and parsing goes on. */
int config_tree_parse_all(const char *text, size_t len, const struct config_place *base, struct config_node **out,
                          void (*each)(const struct error *err, void *arg), void *arg, struct error *err) must_check;
void config_tree_free(struct config_node *n);
void config_tree_freep(struct config_node **n);
/* True for a plain null, ~ or nothing at all, which mean that the key was not given. */
bool config_node_is_null(const struct config_node *n);
/* The value of a key, or NULL. */
struct config_node *config_map_get(const struct config_node *map, const char *key);
/* Appends to a map (key copied) or, with key NULL, to a list. value becomes the parent's. */
void config_node_add(struct config_node *parent, const char *key, const struct config_place *key_place,
                     struct config_node *value);
/* A new scalar, list or map. text may be NULL for the latter two. */
struct config_node *config_node_new(enum config_node_kind kind, const struct config_place *place, const char *text);

/* Fills *err with "FILE:LINE:COLUMN: message" or "--set ARGUMENT: message". Returns ERR_INVALID. */
int config_error(struct error *err, const struct config_place *place, const char *fmt, ...) printf_like(3, 4);
/* As error_wrap, with the place. */
int config_error_wrap(struct error *err, const struct config_place *place);

#endif
