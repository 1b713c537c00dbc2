/* The sample image's only program: shows that an image pulled through Entrepot runs. One thread. */
#include <unistd.h>

int main(void) {
    static const char text[] =
        "Hello from Entrepot: this image came through your edge node, each byte checked against its digest.\n";
    return write(STDOUT_FILENO, text, sizeof(text) - 1) == (ssize_t)(sizeof(text) - 1) ? 0 : 1;
}
