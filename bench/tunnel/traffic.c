// SPDX-License-Identifier: Apache-2.0
/*
 * Both ends of bench/tunnel.ts over UDP. What a run prints is one number per word: see each mode.
 *
 *   sink PORT                       counts datagrams; on SIGTERM prints: packets, its own CPU time in ns
 *   flood ADDRESS PORT BYTES MS PPS sends for MS ms, PPS a second (0: as fast as it goes); prints the same
 *   echo PORT                       sends back what comes
 *   ask ADDRESS PORT BYTES COUNT    one question after the other; prints the ns until each answer
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define MAX_BYTES 1500
#define BURST 32
#define NS_PER_SECOND 1000000000LL
#define ANSWER_TIMEOUT_MS 200

static volatile sig_atomic_t ended;

static void end(int signal_number)
{
	(void)signal_number;
	ended = 1;
}

static long long now_ns(clockid_t clock)
{
	struct timespec time;

	clock_gettime(clock, &time);
	return time.tv_sec * NS_PER_SECOND + time.tv_nsec;
}

static void report(long long packets)
{
	printf("%lld %lld\n", packets, now_ns(CLOCK_PROCESS_CPUTIME_ID));
}

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static struct sockaddr_in endpoint(const char *address, const char *port)
{
	struct sockaddr_in result = { .sin_family = AF_INET, .sin_port = htons(atoi(port)) };

	if (inet_pton(AF_INET, address, &result.sin_addr) != 1)
		die(address);
	return result;
}

static int open_socket(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	if (fd < 0)
		die("socket");
	return fd;
}

static int listen_on(const char *port)
{
	struct sockaddr_in own = endpoint("0.0.0.0", port);
	int fd = open_socket();

	if (bind(fd, (struct sockaddr *)&own, sizeof(own)) != 0)
		die("bind");
	return fd;
}

static int connect_to(const char *address, const char *port)
{
	struct sockaddr_in peer = endpoint(address, port);
	int fd = open_socket();

	if (connect(fd, (struct sockaddr *)&peer, sizeof(peer)) != 0)
		die("connect");
	return fd;
}

/* One system call for a burst: what is measured is the way of a packet, not the way into the kernel. */
struct burst {
	char bytes[BURST][MAX_BYTES];
	struct iovec parts[BURST];
	struct mmsghdr messages[BURST];
};

static struct burst *make_burst(size_t bytes)
{
	struct burst *burst = calloc(1, sizeof(*burst));

	for (int n = 0; n < BURST; n++) {
		burst->parts[n] = (struct iovec){ burst->bytes[n], bytes };
		burst->messages[n].msg_hdr.msg_iov = &burst->parts[n];
		burst->messages[n].msg_hdr.msg_iovlen = 1;
	}
	return burst;
}

static void sink(const char *port)
{
	struct burst *burst = make_burst(MAX_BYTES);
	int fd = listen_on(port);
	long long packets = 0;
	/* Without SA_RESTART, so that the signal ends the system call. */
	struct sigaction action = { .sa_handler = end };

	sigaction(SIGTERM, &action, NULL);
	puts("ready");
	fflush(stdout);
	while (!ended) {
		int received = recvmmsg(fd, burst->messages, BURST, MSG_WAITFORONE, NULL);

		if (received > 0)
			packets += received;
	}
	report(packets);
}

static void wait_until(long long time_ns)
{
	struct timespec time = { time_ns / NS_PER_SECOND, time_ns % NS_PER_SECOND };

	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL);
}

static void flood(const char *address, const char *port, int bytes, long long ms, long long pps)
{
	struct burst *burst = make_burst(bytes);
	int fd = connect_to(address, port);
	long long start = now_ns(CLOCK_MONOTONIC);
	long long packets = 0;

	while (now_ns(CLOCK_MONOTONIC) < start + ms * 1000000) {
		int sent = sendmmsg(fd, burst->messages, BURST, 0);

		if (sent < 0)
			die("sendmmsg");
		packets += sent;
		if (pps > 0)
			wait_until(start + packets * NS_PER_SECOND / pps);
	}
	report(packets);
}

static void echo(const char *port)
{
	char bytes[MAX_BYTES];
	struct sockaddr_in from;
	int fd = listen_on(port);

	puts("ready");
	fflush(stdout);
	for (;;) {
		socklen_t length = sizeof(from);
		ssize_t got = recvfrom(fd, bytes, sizeof(bytes), 0, (struct sockaddr *)&from, &length);

		if (got >= 0)
			sendto(fd, bytes, got, 0, (struct sockaddr *)&from, length);
	}
}

static void ask(const char *address, const char *port, int bytes, int count)
{
	struct timeval timeout = { .tv_usec = ANSWER_TIMEOUT_MS * 1000 };
	char data[MAX_BYTES] = { 0 };
	int fd = connect_to(address, port);

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
	for (int n = 0; n < count; n++) {
		long long start = now_ns(CLOCK_MONOTONIC);

		send(fd, data, bytes, 0);
		if (recv(fd, data, sizeof(data), 0) == bytes)
			printf("%lld\n", now_ns(CLOCK_MONOTONIC) - start);
	}
}

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "sink") == 0)
		sink(argv[2]);
	else if (argc == 7 && strcmp(argv[1], "flood") == 0)
		flood(argv[2], argv[3], atoi(argv[4]), atoll(argv[5]), atoll(argv[6]));
	else if (argc == 3 && strcmp(argv[1], "echo") == 0)
		echo(argv[2]);
	else if (argc == 6 && strcmp(argv[1], "ask") == 0)
		ask(argv[2], argv[3], atoi(argv[4]), atoi(argv[5]));
	else
		return 2;
	return 0;
}
