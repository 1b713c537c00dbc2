/* The least that a cold pull can cost: what a node does with the bytes and nothing else. One thread receives from the
 * upstream and writes a file, one reads it back and hashes it, one sends it to the client by sendfile, but for the last
 * piece, which waits for the hash. Nothing is parsed, counted, indexed or compared.
 * The ways of receiving: "copied" into 256 KiB and from there into a block of 512 KiB, as the product does by libcurl;
 * "direct" into the block; "mapped" the same, and the hasher maps the file; "splice" from the socket into the file.
 * Usage: floor PORT UPSTREAM-PORT FOLDER [copied|direct|mapped|splice]. One connection at a time. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

#define PIECE ((int64_t)4 << 20)
#define BLOCK ((size_t)512 << 10)
#define PART ((size_t)256 << 10)
#define WAKE ((int64_t)1 << 20) /* bytes that are worth waking another thread for */
#define HASH_BYTES ((int64_t)64 << 10)
#define HEAD_MAX 8192

static struct {
    pthread_mutex_t lock;
    pthread_cond_t more;
    int64_t size, written, shown, hashed;
    int up, file, client;
    const char *how;
    bool maps; /* the hasher maps what it hashes, instead of copying it */
} pull = {.lock = PTHREAD_MUTEX_INITIALIZER, .more = PTHREAD_COND_INITIALIZER};

static void die(const char *what) {
    perror(what);
    exit(1);
}

static void wrote(int64_t n) {
    pthread_mutex_lock(&pull.lock);
    pull.written += n;
    if (pull.written - pull.shown >= WAKE || pull.written == pull.size) {
        pull.shown = pull.written;
        pthread_cond_broadcast(&pull.more);
    }
    pthread_mutex_unlock(&pull.lock);
}

static void put(const char *data, size_t n) {
    if (pwrite(pull.file, data, n, pull.written) != (ssize_t)n) die("write");
    wrote((int64_t)n);
}

static void receive_block(char *block, char *part, size_t have) {
    size_t want = (size_t)(pull.size - pull.written) < BLOCK ? (size_t)(pull.size - pull.written) : BLOCK;
    bool copied = strcmp(pull.how, "copied") == 0;
    while (have < want) {
        size_t room = want - have;
        ssize_t n = recv(pull.up, copied ? part : block + have, copied && room > PART ? PART : room, 0);
        if (n <= 0) die("upstream");
        if (copied) memcpy(block + have, part, (size_t)n);
        have += (size_t)n;
    }
    put(block, want);
}

static void splice_all(void) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0 || fcntl(ends[1], F_SETPIPE_SZ, 1 << 20) < 0) die("pipe");
    while (pull.written < pull.size) {
        ssize_t n = splice(pull.up, NULL, ends[1], NULL, (size_t)(pull.size - pull.written), SPLICE_F_MOVE);
        if (n <= 0) die("splice");
        for (ssize_t left = n; left > 0;) {
            off_t at = pull.written;
            ssize_t out = splice(ends[0], NULL, pull.file, &at, (size_t)left, SPLICE_F_MOVE);
            if (out <= 0) die("splice to the file");
            left -= out;
            wrote(out);
        }
    }
    close(ends[0]);
    close(ends[1]);
}

/* block: begins with `have` bytes that came with the head. */
static void receive_all(char *block, size_t have) {
    static char part[PART];
    if (strcmp(pull.how, "splice") == 0) {
        if (have > 0) put(block, have);
        splice_all();
        return;
    }
    for (; pull.written < pull.size; have = 0)
        receive_block(block, part, have);
}

static int64_t wait_beyond(int64_t *what, int64_t at) {
    pthread_mutex_lock(&pull.lock);
    while (*what <= at && at < pull.size)
        pthread_cond_wait(&pull.more, &pull.lock);
    int64_t got = *what;
    pthread_mutex_unlock(&pull.lock);
    return got;
}

static void *hash_all(void *arg) {
    (void)arg;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    unsigned char digest[EVP_MAX_MD_SIZE];
    if (!ctx || !EVP_DigestInit_ex(ctx, EVP_sha256(), NULL)) die("sha256");
    for (int64_t at = 0, there = 0; at < pull.size && !pull.maps;) {
        static char chunk[HASH_BYTES];
        if (there <= at) there = wait_beyond(&pull.shown, at);
        ssize_t n = pread(pull.file, chunk, (size_t)(at + HASH_BYTES < there ? HASH_BYTES : there - at), at);
        if (n <= 0) die("read");
        EVP_DigestUpdate(ctx, chunk, (size_t)n);
        at += n;
    }
    for (int64_t at = 0, there = 0; at < pull.size && pull.maps;) {
        char *view = mmap(NULL, (size_t)PIECE, PROT_READ, MAP_SHARED, pull.file, at);
        if (view == MAP_FAILED) die("mmap");
        int64_t begin = at, end = at + PIECE < pull.size ? at + PIECE : pull.size;
        while (at < end) {
            if (there <= at) there = wait_beyond(&pull.shown, at);
            int64_t to = at + HASH_BYTES < there ? at + HASH_BYTES : there;
            if (to > end) to = end;
            EVP_DigestUpdate(ctx, view + (at - begin), (size_t)(to - at));
            at = to;
        }
        munmap(view, (size_t)PIECE);
    }
    EVP_DigestFinal_ex(ctx, digest, NULL);
    EVP_MD_CTX_free(ctx);
    pthread_mutex_lock(&pull.lock);
    pull.hashed = pull.size;
    pthread_cond_broadcast(&pull.more);
    pthread_mutex_unlock(&pull.lock);
    return NULL;
}

static void *send_all(void *arg) {
    (void)arg;
    int64_t withheld = pull.size > PIECE ? pull.size - PIECE : 0;
    for (off_t at = 0; at < pull.size;) {
        int64_t to = at < withheld ? wait_beyond(&pull.shown, at) : wait_beyond(&pull.hashed, at);
        if (at < withheld && to > withheld) to = withheld;
        while (at < to)
            if (sendfile(pull.client, pull.file, &at, (size_t)(to - at)) <= 0) return NULL; /* the client has gone */
    }
    return NULL;
}

/* Reads a head into buf; returns how many bytes there are in all, *end where the head ends. */
static size_t read_head(int fd, char *buf, size_t *end) {
    size_t have = 0;
    for (;;) {
        ssize_t n = recv(fd, buf + have, HEAD_MAX - have, 0);
        if (n <= 0) return 0;
        have += (size_t)n;
        char *over = memmem(buf, have, "\r\n\r\n", 4);
        if (over) {
            *end = (size_t)(over - buf) + 4;
            return have;
        }
        if (have == HEAD_MAX) return 0;
    }
}

static int tcp(int port, bool listens) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    if (listens) {
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
        if (bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, 16) < 0) die("listen");
    } else if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0) {
        die("connect");
    }
    return fd;
}

/* From the client's request to its answer; receives on this thread. */
static void answer(int upstream_port, const char *folder, char *block) {
    static char request[HEAD_MAX + 1], path[4096], kept[4096];
    size_t end, have = read_head(pull.client, request, &end);
    if (have == 0) return;
    pull.up = tcp(upstream_port, false);
    if (send(pull.up, request, end, MSG_NOSIGNAL) < 0) die("send");
    have = read_head(pull.up, block, &end);
    char *length = have ? memmem(block, end, "Content-Length: ", 16) : NULL;
    if (!length) die("no length");
    pull.size = atoll(length + 16);
    pull.written = pull.shown = pull.hashed = 0;
    if (send(pull.client, block, end, MSG_NOSIGNAL | MSG_MORE) < 0) die("send");
    snprintf(path, sizeof(path), "%s/part", folder);
    snprintf(kept, sizeof(kept), "%s/kept", folder);
    pull.file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (pull.file < 0) die(path);
    memmove(block, block + end, have - end);
    pthread_t hasher, sender;
    if (pthread_create(&hasher, NULL, hash_all, NULL) || pthread_create(&sender, NULL, send_all, NULL)) die("thread");
    receive_all(block, have - end);
    pthread_join(hasher, NULL);
    pthread_join(sender, NULL);
    if (fdatasync(pull.file) < 0 || rename(path, kept) < 0) die("keep");
    close(pull.file);
    close(pull.up);
}

int main(int argc, char **argv) {
    if (argc < 4) {
        fprintf(stderr, "floor PORT UPSTREAM-PORT FOLDER [copied|direct|mapped|splice]\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    pull.how = argc > 4 ? argv[4] : "copied";
    if (strcmp(pull.how, "mapped") == 0) {
        pull.how = "direct";
        pull.maps = true;
    }
    int listener = tcp(atoi(argv[1]), true);
    char *block = malloc(BLOCK);
    while ((pull.client = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
        answer(atoi(argv[2]), argv[3], block);
        close(pull.client);
    }
    die("accept");
}
