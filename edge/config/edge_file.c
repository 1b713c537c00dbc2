/* The file is changed by lines, since a YAML library would lose its comments; then it is read as any configuration is,
 * to see that it says what it should. Thread: main. */
#include "edge/config/edge_file.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "common/core/alloc.h"
#include "common/core/file.h"
#include "edge/config/edge_config.h"

#define FILE_MAX_BYTES ((size_t)MiB)

/* --- the text --- */

static bool is_key(const char *line, const char *key) {
    size_t n = strlen(key);
    if (strncmp(line, key, n) != 0) return false;
    line += n + strspn(line + n, " \t");
    return line[0] == ':' && (line[1] == ' ' || line[1] == '\t' || line[1] == '\n' || line[1] == '\r' || !line[1]);
}

/* The start of the comment in a line, blanks before it included; its end if there is none. A '#' within quotes is no
 * comment, nor is one without a blank before it. */
static const char *comment_in(const char *line, const char *end) {
    char quote = 0;
    for (const char *p = line; p < end; p++) {
        if (quote)
            quote = *p == quote ? 0 : quote;
        else if ((*p == '"' || *p == '\'') && (p[-1] == ' ' || p[-1] == ':'))
            quote = *p;
        else if (*p == '#' && p > line && (p[-1] == ' ' || p[-1] == '\t'))
            return p - 1;
    }
    return end;
}

/* The text with both keys; the caller frees it. old: "" if there is no file. */
static char *edge_file_text(const char *old, const char *site, const char *central) {
    struct buf b;
    bool has_site = false, has_central = false, full = false;
    buf_init(&b, 2 * FILE_MAX_BYTES + 4096);
    for (const char *line = old; *line;) {
        const char *end = line + strcspn(line, "\n"), *next = *end ? end + 1 : end;
        has_site = has_site || is_key(line, "site");
        if (!has_central && is_key(line, "central")) {
            has_central = true;
            const char *comment = comment_in(line, end);
            full = full ||
                   buf_printf(&b, "central: %s%.*s%s", central, (int)(end - comment), comment, *end ? "\n" : "") < 0;
        } else {
            full = full || buf_add(&b, line, (size_t)(next - line)) < 0;
        }
        line = next;
    }
    if (b.len > 0 && b.data[b.len - 1] != '\n') full = full || buf_add_str(&b, "\n") < 0;
    if (!has_site) full = full || buf_printf(&b, "site: %s\n", site) < 0;
    if (!has_central) full = full || buf_printf(&b, "central: %s\n", central) < 0;
    if (full) out_of_memory(); /* the file's own limit is far below the buffer's */
    return buf_steal(&b, NULL);
}

/* --- the file --- */

/* Where a symbolic link leads, so that it stays one. The caller frees it. */
static char *target_of(const char *path) {
    char *real = realpath(path, NULL);
    return real ? real : xstrdup(path);
}

static int by_hand(struct error *err, const char *site, const char *central) {
    error_hint(err, "put `site: %s` and `central: %s` into it by hand; this edge has its identity already", site,
               central);
    return err->code;
}

static int check_says(const char *path, const char *site, const char *central, struct error *err) {
    struct node_config *node = NULL;
    const struct config_source src = {.file = path};
    int r = edge_config_load(&src, &node, err);
    if (r < 0) return r;
    const struct edge_config *c = (const struct edge_config *)(const void *)node;
    bool good = c->site && strcmp(c->site, site) == 0 && strcmp(c->central, central) == 0;
    edge_config_free(node);
    return good ? 0 : error_set(err, ERR_INVALID, "it would not say both keys then");
}

/* The new file beside the old one, looked at, then put in its place. */
static int replace(const char *path, const char *text, const char *site, const char *central, struct error *err) {
    struct stat st;
    bool there = stat(path, &st) == 0;
    _cleanup_(freep) char *temp = xasprintf("%s.joining", path);
    int r = file_write_atomic(temp, there ? st.st_mode & 07777 : 0644, text, strlen(text), err);
    if (r < 0) return r;
    if (there && geteuid() == 0 && chown(temp, st.st_uid, st.st_gid) < 0) r = error_errno(err, "writing %s", temp);
    if (r == 0) r = check_says(temp, site, central, err);
    if (r == 0 && rename(temp, path) < 0) r = error_errno(err, "writing %s", path);
    if (r < 0) unlink(temp);
    return r;
}

int edge_file_write(const char *path, const char *site, const char *central, struct error *err) {
    _cleanup_(freep) char *target = target_of(path), *old = NULL, *text = NULL;
    size_t len = 0;
    int r = file_read_all(target, FILE_MAX_BYTES, &old, &len, err);
    if (r == -ENOENT) {
        old = xstrdup("");
        r = 0;
    }
    if (r < 0) return r;
    text = edge_file_text(old, site, central);
    if (strcmp(text, old) == 0) return 1;
    r = replace(target, text, site, central, err);
    if (r == 0) return 0;
    error_wrap(err, "%s was not changed", path);
    return by_hand(err, site, central);
}

int edge_file_check(const char *path, struct error *err) {
    _cleanup_(freep) char *target = target_of(path), *folder = NULL;
    const char *slash = strrchr(target, '/');
    folder = slash ? xstrndup(target, slash == target ? 1 : (size_t)(slash - target)) : xstrdup(".");
    if (access(folder, F_OK) < 0 && errno == ENOENT) return dir_make_all(folder, 0755, err);
    if (access(folder, W_OK) == 0) return 0;
    int r = error_errno(err, "%s cannot be written", path);
    if (r == -EROFS)
        error_hint(err, "mount it writable (a container: without :ro), or name another file: --config FILE");
    else
        error_hint(err,
                   "run this as root (sudo; in a container, docker exec -u 0), or name another file: --config FILE");
    return r;
}
