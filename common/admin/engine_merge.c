/* One function a form of file. Thread: any. */
#include "common/admin/engine_merge.h"

#include "common/core/alloc.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define CERTS_D "/etc/containerd/certs.d"

static bool is_blank(const char *s) {
    return s[strspn(s, " \t\r\n")] == '\0';
}

static int refuse(struct engine_merge *out, char *add, struct error *err, const char *path, const char *why) {
    out->add = add;
    error_set(err, ERR_UNSUPPORTED, "%s %s", path, why);
    return ERR_UNSUPPORTED;
}

/* --- files that are all ours --- */

static int merge_own(const struct client_file *f, const char *old, struct engine_merge *out, struct error *err) {
    char *all = xasprintf("%s%s", ENGINE_FILE_MARK, f->content);
    bool same = old && (strcmp(old, all) == 0 || strcmp(old, f->content) == 0);
    bool ours = !old || is_blank(old) || strncmp(old, ENGINE_FILE_MARK, strlen(ENGINE_FILE_MARK)) == 0;
    if (!same && ours) {
        out->after = all;
        return 0;
    }
    free(all);
    if (same) return 0;
    return refuse(out, xstrdup(f->content), err, f->path, "is there already, and was not made by this command");
}

/* --- JSON --- */

/* dockerd treats a mirror with and without a trailing slash as the same. */
static bool same_text(const char *a, const char *b) {
    size_t n = strlen(a), m = strlen(b);
    if (n && a[n - 1] == '/') n--;
    if (m && b[m - 1] == '/') m--;
    return n == m && strncmp(a, b, n) == 0;
}

static bool list_has(const json_t *list, const char *text) {
    const json_t *one;
    size_t i;
    json_array_foreach(list, i, one) {
        if (json_is_string(one) && same_text(json_string_value(one), text)) return true;
    }
    return false;
}

/* True if doc was changed. *odd: the key whose value is no list. */
static bool lists_add(json_t *doc, const json_t *wanted, const char **odd) {
    const char *key;
    json_t *list;
    bool changed = false;
    json_object_foreach((json_t *)(uintptr_t)wanted, key, list) {
        json_t *have = json_object_get(doc, key);
        const json_t *one;
        size_t i;
        if (have && !json_is_array(have)) {
            *odd = key;
            return false;
        }
        if (!have) json_object_set_new(doc, key, have = json_array());
        json_array_foreach(list, i, one) {
            if (list_has(have, json_string_value(one))) continue;
            json_array_insert_new(have, 0, json_deep_copy(one)); /* mirrors are asked in order */
            changed = true;
        }
    }
    return changed;
}

static char *json_text_of(const json_t *doc) {
    char *text = json_dumps(doc, JSON_INDENT(2) | JSON_REAL_PRECISION(15)), *out;
    if (!text) out_of_memory();
    out = xasprintf("%s\n", text);
    free(text);
    return out;
}

static int merge_json(const struct client_file *f, const char *old, struct engine_merge *out, struct error *err) {
    if (!old || is_blank(old)) {
        out->after = xstrdup(f->content);
        return 0;
    }
    json_error_t at;
    const char *odd = NULL;
    char why[200];
    json_t *wanted = json_loads(f->content, 0, NULL), *doc = json_loads(old, JSON_REJECT_DUPLICATES, &at);
    int r = 0;
    if (!json_is_object(doc)) {
        if (doc)
            snprintf(why, sizeof(why), "holds no JSON object");
        else
            snprintf(why, sizeof(why), "is no JSON: line %d: %s", at.line, at.text);
        r = refuse(out, xstrdup(f->content), err, f->path, why);
    } else if (lists_add(doc, wanted, &odd)) {
        out->after = json_text_of(doc);
    } else if (odd) {
        snprintf(why, sizeof(why), "has a \"%.60s\" that is no list", odd);
        r = refuse(out, xstrdup(f->content), err, f->path, why);
    }
    json_decref(doc);
    json_decref(wanted);
    return r;
}

/* --- containerd's config.toml --- */

struct toml_seen {
    bool content;     /* more than comments and blanks */
    bool has_path;    /* config_path of a registry table names CERTS_D */
    unsigned version; /* 0: none is given, which means 1 */
};

static void toml_line(struct toml_seen *seen, const char *line, size_t len, bool *in_registry) {
    while (len && isspace((unsigned char)*line))
        line++, len--;
    while (len && isspace((unsigned char)line[len - 1]))
        len--;
    if (len == 0 || *line == '#') return;
    seen->content = true;
    char text[512];
    snprintf(text, sizeof(text), "%.*s", (int)(len < sizeof(text) ? len : sizeof(text) - 1), line);
    if (*text == '[') {
        char *end = strrchr(text, ']');
        static const char name[] = "registry";
        size_t n = strlen(name);
        *in_registry = end && end - text > (long)n && strncmp(end - n, name, n) == 0;
        return;
    }
    if (sscanf(text, "version = %u", &seen->version) == 1) return;
    const char *path = strstr(text, CERTS_D);
    if (*in_registry && strncmp(text, "config_path", strlen("config_path")) == 0 && path) {
        char before = path[-1], after = path[strlen(CERTS_D)];
        seen->has_path = seen->has_path || ((before == '"' || before == '\'' || before == ':') &&
                                            (after == '"' || after == '\'' || after == ':'));
    }
}

static struct toml_seen toml_look(const char *s) {
    struct toml_seen seen = {0};
    bool in_registry = false;
    while (*s) {
        size_t len = strcspn(s, "\n");
        toml_line(&seen, s, len, &in_registry);
        s += len + (s[len] == '\n');
    }
    return seen;
}

static int merge_containerd(const struct client_file *f, const char *old, struct engine_merge *out, struct error *err) {
    struct toml_seen seen = toml_look(old ? old : "");
    if (seen.has_path) return 0;
    if (!seen.content) {
        bool gap = old && *old && old[strlen(old) - 1] != '\n';
        out->after = xasprintf("%s%s%s", old ? old : "", gap ? "\n" : "", f->content);
        return 0;
    }
    const char *table = seen.version >= 3   ? "plugins.\"io.containerd.cri.v1.images\".registry"
                        : seen.version == 2 ? "plugins.\"io.containerd.grpc.v1.cri\".registry"
                                            : "plugins.cri.registry";
    return refuse(out, xasprintf("[%s]\n  config_path = \"%s\"\n", table, CERTS_D), err, f->path,
                  "is there already, without this config_path");
}

int engine_merge(const struct client_file *wanted, const char *old, struct engine_merge *out, struct error *err) {
    *out = (struct engine_merge){0};
    switch (wanted->form) {
    case CLIENT_FILE_OWN:
        return merge_own(wanted, old, out, err);
    case CLIENT_FILE_JSON:
        return merge_json(wanted, old, out, err);
    case CLIENT_FILE_CONTAINERD:
        return merge_containerd(wanted, old, out, err);
    }
    return 0;
}

void engine_merge_fini(struct engine_merge *m) {
    free(m->after);
    free(m->add);
    *m = (struct engine_merge){0};
}
