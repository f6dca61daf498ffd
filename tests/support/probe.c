/* The program of the tiny test image: serves on 8080 and tells what it may do.
   GET /who   user, capabilities, no-new-privileges
   GET /write outcome of creating a file in the root folder and in /tmp
   GET /reach/ADDRESS/PORT outcome of a connection attempt
   Outcomes are errno values; 0 is success. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

static int reach(const char *address, int port) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct timeval limit = {.tv_sec = 3};
    int outcome, handle = socket(AF_INET, SOCK_STREAM, 0);
    if (handle < 0) return errno;
    setsockopt(handle, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    inet_pton(AF_INET, address, &to.sin_addr);
    outcome = connect(handle, (struct sockaddr *)&to, sizeof to) ? errno : 0;
    close(handle);
    return outcome;
}

static int create(const char *path) {
    int handle = open(path, O_CREAT | O_WRONLY, 0600);
    if (handle < 0) return errno;
    close(handle);
    return 0;
}

static void who(char *answer, size_t size) {
    char line[256], *end = answer + sprintf(answer, "uid %d gid %d\n", getuid(), getgid());
    FILE *status = fopen("/proc/self/status", "r");
    while (status && fgets(line, sizeof line, status))
        if (!strncmp(line, "Cap", 3) || !strncmp(line, "NoNewPrivs", 10))
            end += snprintf(end, size - (end - answer), "%s", line);
    if (status) fclose(status);
}

static void stop(int number) { (void)number; _exit(0); }

int main(void) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(8080)};
    int yes = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
    signal(SIGTERM, stop);
    signal(SIGPIPE, SIG_IGN);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(listener, (struct sockaddr *)&at, sizeof at) || listen(listener, 16)) return 1;
    printf("probe is ready\n");
    fflush(stdout);
    for (;;) {
        char asked[4096] = "", answer[2048] = "", address[64];
        int port, client = accept(listener, 0, 0);
        if (client < 0 || read(client, asked, sizeof asked - 1) < 0) continue;
        if (!strncmp(asked, "GET /who", 8)) who(answer, sizeof answer);
        else if (!strncmp(asked, "GET /write", 10))
            sprintf(answer, "root %d tmp %d\n", create("/new"), create("/tmp/new"));
        else if (sscanf(asked, "GET /reach/%63[0-9.]/%d", address, &port) == 2)
            sprintf(answer, "%d\n", reach(address, port));
        dprintf(client, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s",
                strlen(answer), answer);
        shutdown(client, SHUT_WR);
        close(client);
    }
}
