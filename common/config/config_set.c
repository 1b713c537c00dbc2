/* Applies --set key.path=value: walks schema and tree together, one step of the path at a time. Thread: main. */
#include "common/config/config_set.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "common/config/nearest.h"

#define STEP_MAX 300

const struct config_key *config_key_find(const struct config_schema *schema, const char *name, const char *where,
                                         const struct config_place *place, struct error *err) {
    const char *names[64] = {0};
    size_t n = schema->n < ARRAY_LEN(names) ? schema->n : ARRAY_LEN(names);
    for (size_t i = 0; i < schema->n; i++) {
        if (!strcmp(schema->keys[i].name, name)) return &schema->keys[i];
    }
    for (size_t i = 0; i < n; i++)
        names[i] = schema->keys[i].name;
    int near = nearest_word(name, names, n);
    for (size_t i = 0, len = strlen(name); near < 0 && len > 2 && i < n; i++) { /* "password" means password_file */
        if (!strncmp(names[i], name, len) && names[i][len] == '_') near = (int)i;
    }
    const char *dot = *where ? "." : "";
    if (near >= 0) {
        config_error(err, place, "unknown key \"%.100s%s%.64s\"; did you mean \"%.100s%s%s\"?", where, dot, name, where,
                     dot, names[near]);
    } else {
        config_error(err, place, "unknown key \"%.100s%s%.64s\"", where, dot, name);
    }
    char list[256] = "";
    size_t len = 0;
    for (size_t i = 0; i < n && len < sizeof list - 1; i++)
        len += (size_t)snprintf(list + len, sizeof list - len, "%s%s", i ? ", " : "", names[i]);
    error_hint(err, "the keys here are %s", list);
    return NULL;
}

/* The value side of the argument: scalars are taken as they stand (so "[::1]:5000" needs no quotes), the rest is YAML.
 */
static int value_parse(const struct config_key *key, const char *text, const struct config_place *place,
                       struct config_node **out, struct error *err) {
    bool structured = !key || key->type == CONFIG_STRINGS || key->type == CONFIG_GROUP || key->type == CONFIG_ITEMS;
    if (structured || text[0] == '"' || text[0] == '\'') {
        int r = config_tree_parse(text, strlen(text), place, out, err);
        if (r == 0 && !*out) *out = config_node_new(CONFIG_NODE_SCALAR, place, "");
        return r;
    }
    if (strpbrk(text, "\n\r\t")) return config_error(err, place, "a line break or tab in the value");
    int r = config_text_check(text, strlen(text), place, err);
    if (r < 0) return r;
    *out = config_node_new(CONFIG_NODE_SCALAR, place, text);
    return 0;
}

/* Reads the next step of *path and moves past it: "name", ".name", "[name]". 0, or ERR_INVALID. */
static int step_read(const char **path, const char *end, char step[STEP_MAX], const struct config_place *place,
                     struct error *err) {
    const char *p = *path, *stop;
    if (*p == '[') {
        p++;
        stop = memchr(p, ']', (size_t)(end - p));
        if (!stop) return config_error(err, place, "\"[\" without \"]\"");
        *path = stop + 1;
    } else {
        if (*p == '.') p++;
        stop = p;
        while (stop < end && *stop != '.' && *stop != '[')
            stop++;
        *path = stop;
    }
    if (stop == p) return config_error(err, place, "an empty step in the key");
    if (stop - p >= STEP_MAX)
        return config_error(err, place, "a step of the key is longer than %d bytes", STEP_MAX - 1);
    memcpy(step, p, (size_t)(stop - p));
    step[stop - p] = '\0';
    return 0;
}

/* The index of the item that a step means, by number or by name; -1 if there is none. */
static ssize_t item_index(const struct config_key *list_key, const struct config_node *list, const char *step) {
    for (size_t i = 0; list_key->item_name && i < list->n; i++) {
        const struct config_node *name = config_map_get(list->items[i], list_key->item_name);
        if (name && name->text && !strcmp(name->text, step)) return (ssize_t)i;
    }
    char *end;
    unsigned long n = strtoul(step, &end, 10);
    if (step[0] < '0' || step[0] > '9' || *end || n >= list->n) return -1;
    return (ssize_t)n;
}

static int item_error(const struct config_key *key, const struct config_node *list, const char *step,
                      const struct config_place *place, struct error *err) {
    config_error(err, place, "\"%s\" has no item \"%.64s\"; it has %zu", key->name, step, list->n);
    if (key->item_name && list->n) {
        char names[200] = "";
        size_t len = 0;
        for (size_t i = 0; i < list->n && len < sizeof names - 1; i++) {
            const struct config_node *name = config_map_get(list->items[i], key->item_name);
            len += (size_t)snprintf(names + len, sizeof names - len, "%s%.60s", i ? ", " : "",
                                    name && name->text ? name->text : "?");
        }
        error_hint(err, "the items are %s", names);
    }
    return ERR_INVALID;
}

/* Makes *slot something that can be stepped into: an empty mapping, or the key's default. */
static int slot_open(const struct config_key *key, enum config_node_kind kind, struct config_node **slot,
                     const struct config_place *place, struct error *err) {
    if (config_node_is_null(*slot)) {
        config_tree_free(*slot);
        *slot = NULL;
        if (kind == CONFIG_NODE_LIST && key->fallback) {
            struct config_place builtin = {0};
            int r = config_tree_parse(key->fallback, strlen(key->fallback), &builtin, slot, err);
            if (r < 0) return r;
        }
        if (!*slot) *slot = config_node_new(kind, place, NULL);
    }
    if ((*slot)->kind == kind) return 0;
    config_error(err, &(*slot)->place, "\"%s\" must be a %s", key ? key->name : "the file",
                 kind == CONFIG_NODE_MAP ? "mapping" : "list");
    return ERR_INVALID;
}

/* The slot of a mapping's key in the tree; adds it as null if it is absent. */
static struct config_node **slot_of(struct config_node *map, const char *name, const struct config_place *place) {
    for (size_t i = 0; i < map->n; i++) {
        if (!strcmp(map->keys[i].name, name)) return &map->items[i];
    }
    config_node_add(map, name, place, config_node_new(CONFIG_NODE_SCALAR, place, ""));
    map->keys[map->n - 1].place = *place;
    return &map->items[map->n - 1];
}

/* Walks [path, end) and returns the slot it leads to, with its key (NULL for an item of a list of mappings). */
static int path_walk(const struct config_schema *schema, struct config_node **slot, const char *path, const char *end,
                     const struct config_place *place, struct config_node ***found, const struct config_key **found_key,
                     struct error *err) {
    const char *start = path;
    const struct config_key *key = NULL;
    while (path < end) {
        char step[STEP_MAX] = "", where[STEP_MAX];
        snprintf(where, sizeof where, "%.*s", (int)(path - start), start);
        int r = step_read(&path, end, step, place, err);
        if (r < 0) return r;
        if (key && (key->type == CONFIG_ITEMS || key->type == CONFIG_STRINGS)) {
            static const struct config_key element = {.name = "item", .type = CONFIG_STRING};
            r = slot_open(key, CONFIG_NODE_LIST, slot, place, err);
            if (r < 0) return r;
            ssize_t i = item_index(key, *slot, step);
            if (i < 0) return item_error(key, *slot, step, place, err);
            slot = &(*slot)->items[i];
            schema = key->inner;
            key = key->type == CONFIG_STRINGS ? &element : NULL;
            continue;
        }
        if (!schema) return config_error(err, place, "\"%.100s\" has no keys below it", where);
        r = slot_open(key, CONFIG_NODE_MAP, slot, place, err);
        if (r < 0) return r;
        key = config_key_find(schema, step, where, place, err);
        if (!key) return ERR_INVALID;
        slot = slot_of(*slot, step, place);
        schema = key->type == CONFIG_GROUP ? key->inner : NULL;
    }
    *found = slot;
    *found_key = key;
    return 0;
}

int config_set(const struct config_schema *schema, struct config_node **root, const char *argument, struct error *err) {
    struct config_place place = {.origin = argument, .is_set = true, .line = 1, .column = 1};
    /* A '=' inside brackets is part of a name. */
    const char *eq = argument;
    for (bool inside = false; *eq && (inside || *eq != '='); eq++)
        inside = *eq == '[' || (inside && *eq != ']');
    if (!*eq || eq == argument) {
        config_error(err, &place, "not of the form KEY=VALUE");
        error_hint(err, "for example --set log.level=debug");
        return ERR_INVALID;
    }
    struct config_node **slot = NULL, *value = NULL;
    const struct config_key *key = NULL;
    int r = path_walk(schema, root, argument, eq, &place, &slot, &key, err);
    if (r < 0) return r;
    assert(slot);
    r = value_parse(key, eq + 1, &place, &value, err);
    if (r < 0) return r;
    config_tree_free(*slot);
    *slot = value;
    return 0;
}
