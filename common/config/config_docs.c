/* The example file and the reference page, written from a schema. Thread: main. */
#include "common/config/config.h"

#include <stdio.h>
#include <string.h>

#include "common/config/config_tree.h"

/* --- small parts --- */

static const char *type_words(const struct config_key *k, char out[160]) {
    static const char *const names[] = {[CONFIG_STRING] = "string",
                                        [CONFIG_PATH] = "path",
                                        [CONFIG_FILE] = "path",
                                        [CONFIG_STRINGS] = "list of strings",
                                        [CONFIG_SIZE] = "size",
                                        [CONFIG_DURATION] = "time",
                                        [CONFIG_RATE] = "rate",
                                        [CONFIG_FREQUENCY] = "times a second",
                                        [CONFIG_BOOL] = "true or false",
                                        [CONFIG_GROUP] = "mapping",
                                        [CONFIG_ITEMS] = "list of mappings"};
    if (k->type == CONFIG_INT) {
        snprintf(out, 160, "number %lld to %lld", (long long)k->min, (long long)k->max);
    } else if (k->type == CONFIG_WORD) {
        size_t len = 0;
        for (int i = 0; k->words[i] && len < 150; i++)
            len += (size_t)snprintf(out + len, 160 - len, "%s%s", i ? ", " : "", k->words[i]);
    } else {
        snprintf(out, 160, "%s", names[k->type]);
    }
    return out;
}

/* Writes a scalar as YAML: without quotes if it cannot be misread. */
static int scalar_write(struct buf *out, const char *s) {
    bool bare = *s && (strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/", *s) != NULL);
    for (const char *p = s; *p && bare; p++)
        bare =
            (unsigned char)*p > ' ' && !strchr("{}[],&*#?|<>=!%@`\"'\\", *p) && !(*p == ':' && (!p[1] || p[1] == ' '));
    if (bare) return buf_add_str(out, s);
    int r = buf_add(out, "\"", 1);
    for (const char *p = s; *p && r == 0; p++) {
        if (*p == '"' || *p == '\\') r = buf_add(out, "\\", 1);
        if (r == 0) r = buf_add(out, p, 1);
    }
    return r < 0 ? r : buf_add(out, "\"", 1);
}

/* Writes a tree in YAML's flow style, on one line. */
static int flow_write(struct buf *out, const struct config_node *n) {
    if (n->kind == CONFIG_NODE_SCALAR) return scalar_write(out, n->text);
    int r = buf_add_str(out, n->kind == CONFIG_NODE_LIST ? "[" : "{ ");
    for (size_t i = 0; i < n->n && r == 0; i++) {
        if (i) r = buf_add_str(out, ", ");
        if (r == 0 && n->keys) r = buf_printf(out, "%s: ", n->keys[i].name);
        if (r == 0) r = flow_write(out, n->items[i]);
    }
    return r < 0 ? r : buf_add_str(out, n->kind == CONFIG_NODE_LIST ? "]" : " }");
}

/* Writes the schema's YAML again, so that all of it is formatted alike. */
static int yaml_write(struct buf *out, const struct config_key *k, const char *yaml) {
    if (k->type != CONFIG_STRINGS && k->type != CONFIG_ITEMS) return scalar_write(out, yaml);
    struct config_place builtin = {0};
    _cleanup_(config_tree_freep) struct config_node *n = NULL;
    int r = config_tree_parse(yaml, strlen(yaml), &builtin, &n, NULL);
    return r < 0 ? r : flow_write(out, n);
}

/* --- the example file --- */

#define EXAMPLE_WIDTH 100

/* Writes wrapped prose, each line after "##". */
static int prose_write(struct buf *out, int indent, const char *text) {
    int r = 0;
    while (*text && r == 0) {
        size_t room = (size_t)(EXAMPLE_WIDTH - indent - 3), len = strlen(text);
        if (len > room) {
            for (len = room; len > 0 && text[len] != ' ';)
                len--;
            if (len == 0) len = strcspn(text, " ");
        }
        r = buf_printf(out, "## %*s%.*s\n", indent, "", (int)len, text);
        text += len + (text[len] == ' ');
    }
    return r;
}

static int key_prose(struct buf *out, int indent, const struct config_key *k) {
    char type[160], text[1200];
    const char *effect = k->no_effect ? " Has no effect in this version." : "";
    if (k->type == CONFIG_GROUP) {
        snprintf(text, sizeof text, "%s%s", k->doc, effect);
    } else if (k->required) {
        snprintf(text, sizeof text, "%s%s (%s; must be given)", k->doc, effect, type_words(k, type));
    } else {
        const char *none = k->type == CONFIG_ITEMS && k->fallback ? "as shown" : k->shown ? k->shown : k->fallback;
        snprintf(text, sizeof text, "%s%s (%s; default: %s)", k->doc, effect, type_words(k, type),
                 none ? none : "none");
    }
    return prose_write(out, indent, text);
}

static int example_keys(struct buf *out, const struct config_schema *schema, int indent, bool off);

/* Writes a list of mappings: its entries one below the other, then the other keys an entry may have. */
static int example_items(struct buf *out, const struct config_key *k, int indent) {
    struct config_place builtin = {0};
    _cleanup_(config_tree_freep) struct config_node *list = NULL;
    const char *yaml = k->fallback ? k->fallback : k->example;
    int r = config_tree_parse(yaml, strlen(yaml), &builtin, &list, NULL);
    if (r == 0) r = buf_printf(out, "#%*s%s:\n", indent, "", k->name);
    for (size_t i = 0; r == 0 && list && i < list->n; i++) {
        const struct config_node *item = list->items[i];
        for (size_t j = 0; j < item->n && r == 0; j++) {
            r = buf_printf(out, "#%*s%s%s: ", indent + 2, "", j ? "  " : "- ", item->keys[j].name);
            if (r == 0) r = flow_write(out, item->items[j]);
            if (r == 0) r = buf_add_str(out, "\n");
        }
    }
    if (r == 0) r = prose_write(out, indent + 2, "Each entry may hold:");
    for (size_t i = 0; i < k->inner->n && r == 0; i++) {
        const struct config_key *in = &k->inner->keys[i];
        r = key_prose(out, indent + 4, in);
        if (r == 0) r = buf_printf(out, "## %*s%s: ", indent + 4, "", in->name);
        if (r == 0) r = yaml_write(out, in, in->fallback ? in->fallback : in->example);
        if (r == 0) r = buf_add_str(out, "\n");
    }
    return r;
}

static int example_key(struct buf *out, const struct config_key *k, int indent, bool off) {
    int r = key_prose(out, indent, k);
    if (r < 0) return r;
    if (k->type == CONFIG_ITEMS) return example_items(out, k, indent);
    if (k->type == CONFIG_GROUP) {
        /* Not commented out: an empty group means nothing, and setting a key in it takes one '#' less. */
        off = off || k->no_effect;
        r = buf_printf(out, "%s%*s%s:\n", off ? "#" : "", indent, "", k->name);
        return r < 0 ? r : example_keys(out, k->inner, indent + 2, off);
    }
    /* An empty default tells nothing, so the example is shown instead. */
    bool empty = !k->fallback || !strcmp(k->fallback, "[]");
    r = buf_printf(out, "#%*s%s: ", indent, "", k->name);
    if (r == 0) r = yaml_write(out, k, empty ? k->example : k->fallback);
    return r < 0 ? r : buf_add_str(out, "\n");
}

static int example_keys(struct buf *out, const struct config_schema *schema, int indent, bool off) {
    int r = 0;
    for (size_t i = 0; i < schema->n && r == 0; i++) {
        if (indent == 0) r = buf_add_str(out, "\n");
        if (r == 0) r = example_key(out, &schema->keys[i], indent, off);
    }
    return r;
}

int config_docs_example(const struct config_schema *schema, const char *program, const char *file, struct buf *out) {
    int r = buf_printf(
        out,
        "## Configuration of %s, normally %s. Made by `%s config-docs example`.\n"
        "##\n"
        "## Every key is here, commented out. A line with \"##\" explains the key; a line with \"#\" has its default,\n"
        "## or an example if there is none. Remove the \"#\" to set the key. Check the result with\n"
        "## `%s serve --check`. Units: sizes KiB MiB GiB TiB, times ms s m h d, rates Mbit/s or MiB/s.\n",
        program, file, program, program);
    return r < 0 ? r : example_keys(out, schema, 0, false);
}

/* --- the reference page --- */

static int cell_write(struct buf *out, const char *s) {
    int r = 0;
    for (; *s && r == 0; s++) {
        if (*s == '|') r = buf_add(out, "\\", 1);
        if (r == 0) r = buf_add(out, s, 1);
    }
    return r;
}

static int markdown_default(struct buf *out, const struct config_key *k) {
    if (k->required) return buf_add_str(out, "must be given");
    if (k->shown) return cell_write(out, k->shown);
    if (k->type == CONFIG_ITEMS && k->fallback) return buf_add_str(out, "see below");
    if (!k->fallback) return buf_add_str(out, "none");
    int r = buf_add_str(out, "`");
    if (r == 0) r = yaml_write(out, k, k->fallback);
    return r < 0 ? r : buf_add_str(out, "`");
}

static int markdown_keys(struct buf *out, const struct config_schema *schema, const char *where);

static int markdown_key(struct buf *out, const struct config_key *k, const char *where) {
    char path[200], type[160];
    snprintf(path, sizeof path, "%s%s", where, k->name);
    if (k->type == CONFIG_GROUP) {
        snprintf(path, sizeof path, "%s%s.", where, k->name);
        return markdown_keys(out, k->inner, path);
    }
    int r = buf_printf(out, "| `%s` | %s | ", path, type_words(k, type));
    if (r == 0) r = markdown_default(out, k);
    if (r == 0) r = buf_add_str(out, " | ");
    if (r == 0) r = cell_write(out, k->doc);
    if (r == 0 && k->no_effect) r = buf_add_str(out, " **Has no effect in this version.**");
    if (r == 0 && k->example && k->type != CONFIG_ITEMS) {
        r = buf_add_str(out, " Example: `");
        if (r == 0) r = yaml_write(out, k, k->example);
        if (r == 0) r = buf_add_str(out, "`");
    }
    if (r == 0) r = buf_add_str(out, " |\n");
    if (r < 0 || k->type != CONFIG_ITEMS) return r;
    snprintf(path, sizeof path, "%s%s[].", where, k->name);
    return markdown_keys(out, k->inner, path);
}

static int markdown_keys(struct buf *out, const struct config_schema *schema, const char *where) {
    int r = 0;
    for (size_t i = 0; i < schema->n && r == 0; i++)
        r = markdown_key(out, &schema->keys[i], where);
    return r;
}

int config_docs_markdown(const struct config_schema *schema, const char *program, const char *file, struct buf *out) {
    int r = buf_printf(out, "\n## %s\n\nDefault file: `%s`.\n\n| key | type | default | meaning |\n|---|---|---|---|\n",
                       program, file);
    if (r == 0) r = markdown_keys(out, schema, "");
    for (size_t i = 0; i < schema->n && r == 0; i++) {
        const struct config_key *k = &schema->keys[i];
        if (k->type != CONFIG_ITEMS || !k->fallback) continue;
        r = buf_printf(out, "\nThe default of `%s`:\n\n```yaml\n%s: ", k->name, k->name);
        if (r == 0) r = yaml_write(out, k, k->fallback);
        if (r == 0) r = buf_add_str(out, "\n```\n");
    }
    return r;
}

int config_docs_intro(struct buf *out) {
    return buf_add_str(
        out,
        "# Configuration\n"
        "\n"
        "For whoever configures a node. Read [operating](operating.md) first.\n"
        "This page is made from the programs' own tables (`entrepot-central config-docs markdown`); do not edit it.\n"
        "\n"
        "Each node reads one YAML file: the one of `--config FILE`, else its default file, which need not exist.\n"
        "Every key has a default or may be left out.\n"
        "`serve --check` reads the file, checks that the files it names are readable, and ends.\n"
        "Examples with every key are in `deploy/central.yaml` and `deploy/edge.yaml`, installed in\n"
        "`/usr/share/doc/entrepot/examples`.\n"
        "\n"
        "An unknown key, a wrong type, a bad unit and a key given twice are errors.\n"
        "The message says file, line and column, or the `--set` it came from, and for an unknown key the nearest known "
        "one.\n"
        "All such errors are reported at once.\n"
        "Rules about several keys (a port used twice, an unknown default upstream) are checked once every value is "
        "valid.\n"
        "A key that is left empty or is `null` counts as not given.\n"
        "\n"
        "| kind | written as |\n"
        "|---|---|\n"
        "| size | a number with `KiB` `MiB` `GiB` `TiB`, or bytes: `500GiB`, `1.5TiB`, `4096`; a number below 1024 "
        "needs a unit: `50B` |\n"
        "| time | numbers with `ms` `s` `m` `h` `d`: `60s`, `1h30m`, `7d` |\n"
        "| rate | a number with `kbit/s` `Mbit/s` `Gbit/s` (thousands), or `KiB/s` `MiB/s` `GiB/s` (1024): `20Mbit/s` "
        "|\n"
        "| path | absolute |\n"
        "\n"
        "The file is YAML without anchors, aliases and tags, in UTF-8, one document of at most 1 MiB.\n"
        "It never contains secrets: keys that need one end in `_file` and name a file.\n"
        "\n"
        "`--set KEY=VALUE` sets one key over the file and can be repeated; the last one wins.\n"
        "An entry of a list is named by its number or its name: `--set upstreams.0.fresh_for=5m`,\n"
        "`--set upstreams[docker.io].fresh_for=5m`.\n"
        "Lists and mappings are written in YAML's one-line form:\n"
        "`--set 'upstreams=[{name: docker.io, endpoints: [\"http://127.0.0.1:5999\"]}]'`.\n"
        "\n"
        "SIGHUP reads the certificates again, and central's sites, the records of its DNS and its addresses. Other "
        "changes take "
        "effect at the next start.\n");
}
