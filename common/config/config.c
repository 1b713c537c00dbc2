/* Reads a configuration by its schema: parses the file, applies --set, then converts every value into its field.
 * Thread: main. */
#include "common/config/config.h"

#include "common/core/alloc.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/core/file.h"
#include "common/config/config_set.h"
#include "common/config/config_tree.h"
#include "common/config/units.h"

#define PATH_TEXT_MAX 300

struct config_load {
    struct config_node *root;
    struct node_config *node;
    const struct config_source *source;
    struct error first; /* the first of the errors that were reported one by one */
    bool unsound;       /* a value is invalid; an unknown or repeated key does not set this */
};

static void tell(const struct error *err, void *arg) {
    struct config_load *load = arg;
    load->source->each(err, load->source->arg);
    if (!load->first.code) load->first = *err;
}

/* Reports an unknown or repeated key. The other values are still used. */
static int key_wrong(struct config_load *load, struct error *err) {
    if (!load->source->each) return err->code;
    tell(err, load);
    *err = (struct error){0};
    return 0;
}

int config_load_wrong(struct config_load *load, struct error *err) {
    load->unsound = true;
    return key_wrong(load, err);
}

static void *field(void *base, size_t at) {
    return (char *)base + at;
}

static const char *type_name(enum config_type t) {
    static const char *const names[] = {"a string",
                                        "a path",
                                        "a path",
                                        "a list of strings",
                                        "a size",
                                        "a time",
                                        "a rate",
                                        "a number of times a second",
                                        "true or false",
                                        "a whole number",
                                        "a word",
                                        "a mapping",
                                        "a list of mappings"};
    return names[t];
}

static const char *kind_name(enum config_node_kind k) {
    return k == CONFIG_NODE_SCALAR ? "a single value" : k == CONFIG_NODE_LIST ? "a list" : "a mapping";
}

/* The brace that ends the first mapping of a list of mappings; NULL: there is none. */
static const char *end_of_first(const char *list) {
    int depth = 0;
    for (const char *p = list; *p; p++) {
        if (*p == '{') depth++;
        if (*p == '}' && --depth == 0) return p;
    }
    return NULL;
}

static void hint_example(const struct config_key *key, struct error *err) {
    const char *example = key->example ? key->example : key->fallback;
    if (!example) return;
    /* Of a list of mappings the first shows the form; what is cut anywhere else could not be copied. */
    const char *first = key->type == CONFIG_ITEMS ? end_of_first(example) : NULL;
    int len = (int)(first ? first + 1 - example : (ptrdiff_t)strlen(example));
    error_hint(err, "for example %s: %.*s%s", key->name, len, example, first ? "]" : "");
}

static int type_error(const struct config_key *key, const char *path, const struct config_node *n, struct error *err) {
    config_error(err, &n->place, "%s: must be %s, not %s", path, type_name(key->type),
                 config_node_is_null(n) ? "empty" : kind_name(n->kind));
    hint_example(key, err);
    return ERR_INVALID;
}

static int value_error(struct error *err, const char *path, const struct config_place *place) {
    error_wrap(err, "%s", path);
    return config_error_wrap(err, place);
}

/* --- scalars --- */

static int word_parse(const struct config_key *key, const char *text, int *out, struct error *err) {
    char list[160] = "";
    size_t len = 0;
    for (int i = 0; key->words[i]; i++) {
        if (!strcmp(key->words[i], text)) {
            *out = i;
            return 0;
        }
        if (len < sizeof list - 1)
            len += (size_t)snprintf(list + len, sizeof list - len, "%s%s", i ? ", " : "", key->words[i]);
    }
    return error_set(err, ERR_INVALID, "\"%.64s\" is not one of %s", text, list);
}

static int string_check(const struct config_key *key, const char *text, struct error *err) {
    if ((key->type == CONFIG_PATH || key->type == CONFIG_FILE) && text[0] != '/')
        return error_set(err, ERR_INVALID, "\"%.100s\" must be an absolute path", text);
    return key->check ? key->check(text, err) : 0;
}

static int number_parse(const struct config_key *key, const char *text, int64_t *out, struct error *err) {
    int r = key->type == CONFIG_SIZE       ? size_parse(text, out, err)
            : key->type == CONFIG_DURATION ? duration_parse(text, out, err)
                                           : rate_parse(text, out, err);
    if (r == 0 && key->max && (*out < key->min || *out > key->max)) {
        const char *unit = key->type == CONFIG_DURATION ? "ms" : key->type == CONFIG_SIZE ? "bytes" : "bytes/s";
        r = error_set(err, ERR_INVALID, "%.64s is out of range: it must be from %lld to %lld %s", text,
                      (long long)key->min, (long long)key->max, unit);
    }
    return r;
}

/* Notes a file and the key that names it, for config_check_files. */
static void file_note(struct node_config *node, const char *path, const struct config_node *n) {
    struct error at = {0};
    node->files = xrealloc(node->files, node->n_files + 1, sizeof *node->files);
    struct node_config_file *f = &node->files[node->n_files++];
    config_error(&at, &n->place, "%s", path);
    f->where = xstrdup(at.msg);
    f->path = xstrdup(n->text);
}

/* Converts a scalar and stores it in base's field. base NULL: only checks it. */
static int scalar_bind(const struct config_key *key, const char *text, void *base, struct error *err) {
    union {
        int64_t number;
        bool truth;
        int word;
    } v = {0};
    int r = 0;
    switch (key->type) {
    case CONFIG_SIZE:
    case CONFIG_DURATION:
    case CONFIG_RATE:
        r = number_parse(key, text, &v.number, err);
        if (r == 0 && base) memcpy(field(base, key->at), &v.number, sizeof v.number);
        return r;
    case CONFIG_BOOL:
        r = bool_parse(text, &v.truth, err);
        if (r == 0 && base) memcpy(field(base, key->at), &v.truth, sizeof v.truth);
        return r;
    case CONFIG_WORD:
        r = word_parse(key, text, &v.word, err);
        if (r == 0 && base) memcpy(field(base, key->at), &v.word, sizeof v.word);
        return r;
    case CONFIG_INT:
    case CONFIG_FREQUENCY:
        r = key->type == CONFIG_INT ? int_parse(text, key->min, key->max, &v.number, err)
                                    : frequency_parse(text, key->min, key->max, &v.number, err);
        if (r == 0 && base) *(unsigned *)field(base, key->at) = (unsigned)v.number;
        return r;
    default:
        r = string_check(key, text, err);
        if (r == 0 && base) *(char **)field(base, key->at) = xstrdup(text);
        return r;
    }
}

/* --- lists and mappings --- */

static int map_bind(struct config_load *load, const struct config_schema *schema, const struct config_node *map,
                    const char *where, void *base, struct error *err);

static int strings_bind(struct config_load *load, const struct config_key *key, const struct config_node *n,
                        const char *path, void *base, struct error *err) {
    if (n->kind != CONFIG_NODE_LIST) return type_error(key, path, n, err);
    char **list = NULL;
    if (base && n->n) {
        list = xcalloc(n->n, sizeof *list);
        *(char ***)field(base, key->at) = list;
        *(size_t *)field(base, key->count_at) = n->n;
    }
    for (size_t i = 0; i < n->n; i++) {
        const struct config_node *item = n->items[i];
        int r = 0;
        if (item->kind != CONFIG_NODE_SCALAR || config_node_is_null(item)) {
            r = type_error(key, path, item, err);
        } else if (string_check(key, item->text, err) < 0) {
            r = value_error(err, path, &item->place);
        } else if (list) {
            list[i] = xstrdup(item->text);
        }
        if (r < 0) r = config_load_wrong(load, err);
        if (r < 0) return r;
    }
    return 0;
}

static int items_bind(struct config_load *load, const struct config_key *key, const struct config_node *n,
                      const char *path, void *base, struct error *err) {
    if (n->kind != CONFIG_NODE_LIST) return type_error(key, path, n, err);
    char *items = NULL;
    if (base && n->n) {
        items = xcalloc(n->n, key->item_size);
        *(void **)field(base, key->at) = items;
        *(size_t *)field(base, key->count_at) = n->n;
    }
    for (size_t i = 0; i < n->n; i++) {
        char at[PATH_TEXT_MAX];
        snprintf(at, sizeof at, "%s[%zu]", path, i);
        const struct config_node *item = n->items[i];
        int r;
        if (item->kind == CONFIG_NODE_MAP) {
            r = map_bind(load, key->inner, item, at, items ? items + i * key->item_size : NULL, err);
        } else {
            r = config_error(err, &item->place, "%s: must be a mapping, not %s", at,
                             config_node_is_null(item) ? "empty" : kind_name(item->kind));
            hint_example(key, err);
        }
        if (r < 0) r = config_load_wrong(load, err);
        if (r < 0) return r;
    }
    return 0;
}

static int value_bind(struct config_load *load, const struct config_key *key, const struct config_node *n,
                      const char *path, void *base, struct error *err) {
    if (key->type == CONFIG_GROUP) {
        if (n && n->kind != CONFIG_NODE_MAP) return type_error(key, path, n, err);
        return map_bind(load, key->inner, n, path, base, err);
    }
    if (key->type == CONFIG_ITEMS) return items_bind(load, key, n, path, base, err);
    if (key->type == CONFIG_STRINGS) return strings_bind(load, key, n, path, base, err);
    if (n->kind != CONFIG_NODE_SCALAR) return type_error(key, path, n, err);
    if (scalar_bind(key, n->text, base, err) < 0) return value_error(err, path, &n->place);
    if (base && key->type == CONFIG_FILE) file_note(load->node, path, n);
    return 0;
}

/* Stores the default of a key that was not given, if it has one. */
static int default_bind(struct config_load *load, const struct config_key *key, const char *path, void *base,
                        struct error *err) {
    if (key->type == CONFIG_GROUP) return value_bind(load, key, NULL, path, base, err);
    if (!key->fallback) return 0;
    struct config_place builtin = {0};
    _cleanup_(config_tree_freep) struct config_node *n = NULL;
    if (key->type == CONFIG_STRINGS || key->type == CONFIG_ITEMS) {
        int r = config_tree_parse(key->fallback, strlen(key->fallback), &builtin, &n, err);
        if (r < 0) return r;
    } else {
        n = config_node_new(CONFIG_NODE_SCALAR, &builtin, key->fallback);
    }
    return value_bind(load, key, n, path, base, err);
}

static void no_effect_note(struct node_config *node, const char *path) {
    node->no_effect = xrealloc(node->no_effect, node->n_no_effect + 1, sizeof *node->no_effect);
    node->no_effect[node->n_no_effect++] = xstrdup(path);
}

static int key_bind(struct config_load *load, const struct config_key *key, const struct config_node *map,
                    const char *where, void *base, struct error *err) {
    char path[PATH_TEXT_MAX];
    snprintf(path, sizeof path, "%s%s%s", where, *where ? "." : "", key->name);
    const struct config_node *n = config_map_get(map, key->name);
    if (key->required && config_node_is_null(n)) {
        config_error(err, map ? &map->place : NULL, "%s: must be given", path);
        return ERR_INVALID;
    }
    if (key->no_effect) {
        if (config_node_is_null(n)) return 0;
        if (base) no_effect_note(load->node, path); /* without base an outer key was noted already */
        return value_bind(load, key, n, path, NULL, err);
    }
    if (!config_node_is_null(n)) return value_bind(load, key, n, path, base, err);
    return base ? default_bind(load, key, path, base, err) : 0;
}

static int map_bind(struct config_load *load, const struct config_schema *schema, const struct config_node *map,
                    const char *where, void *base, struct error *err) {
    for (size_t i = 0; map && i < map->n; i++) {
        if (config_key_find(schema, map->keys[i].name, where, &map->keys[i].place, err)) continue;
        int r = key_wrong(load, err);
        if (r < 0) return r;
    }
    for (size_t i = 0; i < schema->n; i++) {
        int r = key_bind(load, &schema->keys[i], map, where, base, err);
        if (r < 0) r = config_load_wrong(load, err);
        if (r < 0) return r;
    }
    return 0;
}

/* --- loading --- */

/* Reads the file into load->root, if there is one, and keeps its name. */
static int file_load(const struct config_source *src, struct config_load *load, struct error *err) {
    const char *file = src->file ? src->file : src->default_file;
    if (!file) return 0;
    _cleanup_(freep) char *text = NULL;
    size_t len = 0;
    int r = file_read_all(file, CONFIG_TEXT_MAX, &text, &len, err);
    if (r == -ENOENT && !src->file) {
        *err = (struct error){0};
        return 0;
    }
    if (r == -ENOENT) error_hint(err, "without --config the defaults are used");
    if (r == -EACCES) error_hint(err, "run this as root (sudo), or as the user whose file it is");
    if (r == ERR_TOO_BIG)
        error_set(err, r, "%s is longer than a configuration may be (%zu bytes)", file, CONFIG_TEXT_MAX);
    if (r < 0) return r;
    load->node->config_file = xstrdup(file);
    struct config_place base = {.origin = load->node->config_file, .line = 1, .column = 1};
    r = config_tree_parse_all(text, len, &base, &load->root, src->each ? tell : NULL, load, err);
    if (r < 0) return r;
    if (!config_node_is_null(load->root) && load->root->kind != CONFIG_NODE_MAP)
        return config_error(err, &load->root->place, "must be a mapping of keys to values, not %s",
                            kind_name(load->root->kind));
    return 0;
}

int config_load(const struct config_schema *schema, const struct config_source *src, struct node_config *target,
                int (*check)(struct config_load *load, struct node_config *target, struct error *err),
                struct error *err) {
    struct error own = {0};
    if (!err) err = &own;
    struct config_load load = {.node = target, .source = src};
    target->n_sets = src->n_sets;
    int r = file_load(src, &load, err);
    if (r < 0 && src->each) src->each(err, src->arg); /* more errors would be about a configuration that nobody wrote */
    for (size_t i = 0; i < src->n_sets && r == 0; i++) {
        r = config_set(schema, &load.root, src->sets[i], err);
        if (r < 0) r = config_load_wrong(&load, err);
    }
    if (r == 0) r = map_bind(&load, schema, config_node_is_null(load.root) ? NULL : load.root, "", target, err);
    /* Rules about several keys are checked only if each value is valid. */
    if (r == 0 && check && !load.unsound) {
        r = check(&load, target, err);
        if (r < 0) r = config_load_wrong(&load, err);
    }
    if (r == 0 && load.first.code) {
        *err = load.first;
        r = err->code;
    }
    config_tree_free(load.root);
    if (r < 0) config_free(schema, target);
    return r;
}

/* The value at a path such as "a.b[2].c", or of the deepest part of the path that exists; NULL if none does. */
static const struct config_node *tree_find(const struct config_node *root, const char *path) {
    const struct config_node *n = root;
    while (n && *path) {
        const struct config_node *next = NULL;
        if (*path == '[') {
            char *end;
            size_t i = strtoul(path + 1, &end, 10);
            if (n->kind == CONFIG_NODE_LIST && i < n->n) next = n->items[i];
            path = *end ? end + 1 : end;
        } else {
            path += *path == '.';
            char name[PATH_TEXT_MAX];
            size_t len = strcspn(path, ".[");
            snprintf(name, sizeof name, "%.*s", (int)len, path);
            next = config_map_get(n, name);
            path += len;
        }
        if (!next) return n == root ? NULL : n;
        n = next;
    }
    return n;
}

int config_load_error(const struct config_load *load, const char *path, struct error *err, const char *fmt, ...) {
    char msg[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(msg, sizeof msg, fmt, ap);
    va_end(ap);
    const struct config_node *n = tree_find(load->root, path);
    config_error(err, n ? &n->place : NULL, "%s: %s", path, msg);
    return ERR_INVALID;
}

static char *text_copy(const char *text) {
    return text ? xstrdup(text) : NULL;
}

/* base is a copy byte for byte: what its pointers lead to is copied, too. */
static void keys_copy(const struct config_schema *schema, void *base) {
    for (size_t i = 0; i < schema->n; i++) {
        const struct config_key *k = &schema->keys[i];
        if (k->no_effect) continue;
        if (k->type == CONFIG_GROUP) keys_copy(k->inner, base);
        if (k->type == CONFIG_STRING || k->type == CONFIG_PATH || k->type == CONFIG_FILE) {
            char **text = field(base, k->at);
            *text = text_copy(*text);
        } else if (k->type == CONFIG_STRINGS || k->type == CONFIG_ITEMS) {
            char **list = field(base, k->at);
            size_t n = *(size_t *)field(base, k->count_at);
            size_t size = k->type == CONFIG_STRINGS ? sizeof(char *) : k->item_size;
            char *copy = xcalloc(n + 1, size);
            if (n) memcpy(copy, *list, n * size);
            for (size_t j = 0; j < n; j++) {
                if (k->type == CONFIG_STRINGS) ((char **)(void *)copy)[j] = text_copy(((char **)(void *)copy)[j]);
                if (k->type == CONFIG_ITEMS) keys_copy(k->inner, copy + j * size);
            }
            *list = copy;
        }
    }
}

void config_copy(const struct config_schema *schema, struct node_config *to, const struct node_config *from,
                 size_t size) {
    memcpy(to, from, size);
    keys_copy(schema, to);
    to->config_file = NULL;
    to->no_effect = NULL;
    to->n_no_effect = 0;
    to->files = NULL;
    to->n_files = 0;
}

static void keys_free(const struct config_schema *schema, void *base) {
    for (size_t i = 0; i < schema->n; i++) {
        const struct config_key *k = &schema->keys[i];
        if (k->no_effect) continue;
        if (k->type == CONFIG_GROUP) keys_free(k->inner, base);
        if (k->type != CONFIG_STRING && k->type != CONFIG_PATH && k->type != CONFIG_FILE && k->type != CONFIG_STRINGS &&
            k->type != CONFIG_ITEMS)
            continue;
        char **list = field(base, k->at);
        if (k->type == CONFIG_STRINGS || k->type == CONFIG_ITEMS) {
            size_t *n = field(base, k->count_at);
            for (size_t j = 0; j < *n; j++) {
                if (k->type == CONFIG_STRINGS) free((*(char ***)field(base, k->at))[j]);
                if (k->type == CONFIG_ITEMS) keys_free(k->inner, *(char **)field(base, k->at) + j * k->item_size);
            }
            *n = 0;
        }
        free(*list);
        *list = NULL;
    }
}

void config_free(const struct config_schema *schema, struct node_config *target) {
    keys_free(schema, target);
    free(target->config_file);
    for (size_t i = 0; i < target->n_no_effect; i++)
        free(target->no_effect[i]);
    free(target->no_effect);
    for (size_t i = 0; i < target->n_files; i++) {
        free(target->files[i].where);
        free(target->files[i].path);
    }
    free(target->files);
    target->files = NULL;
    target->n_files = 0;
    target->config_file = NULL;
    target->no_effect = NULL;
    target->n_no_effect = 0;
}

static int file_check(const struct node_config_file *f, struct error *err) {
    _cleanup_(closep) int fd = open(f->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return error_errno(err, "%s: cannot read %s", f->where, f->path);
    return file_is_special(f->path) ? error_set(err, ERR_INVALID, "%s: %s is not a regular file", f->where, f->path)
                                    : 0;
}

size_t config_check_files(const struct node_config *target, void (*each)(const struct error *err, void *arg),
                          void *arg) {
    size_t n = 0;
    for (size_t i = 0; i < target->n_files; i++) {
        struct error err = {0};
        if (file_check(&target->files[i], &err) == 0) continue;
        each(&err, arg);
        n++;
    }
    return n;
}

void config_warn_no_effect(const struct node_config *node) {
    for (size_t i = 0; i < node->n_no_effect; i++)
        log_warn("config_no_effect", KV_S("key", node->no_effect[i]),
                 KV_S("msg", "this key has no effect in this version"));
    if (node->note) log_warn("config_note", KV_S("msg", node->note));
}
