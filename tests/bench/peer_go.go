// The scenarios of tasks with goroutines, on one core; and a million items through a channel from another thread.
package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

func createAndAwait(count int) int {
	seen := 0
	done := make(chan struct{})
	for i := 0; i < count; i++ {
		go func() { seen++; done <- struct{}{} }()
		<-done
	}
	return seen
}

func switchInTurn(count int) int {
	seen := 0
	work := func() {
		for i := 0; i < count/2; i++ {
			seen++
			runtime.Gosched()
		}
	}
	done := make(chan struct{})
	go func() { work(); close(done) }()
	work()
	<-done
	return seen
}

// The channel has room, as the queue of a loop that is posted to.
func post(count int) int {
	runtime.GOMAXPROCS(2)
	runtime.LockOSThread()
	seen := 0
	calls := make(chan func(), 1024)
	go func() {
		runtime.LockOSThread()
		for i := 0; i < count; i++ {
			calls <- func() { seen++ }
		}
		close(calls)
	}()
	for call := range calls {
		call()
	}
	return seen
}

func lockHandOver(count int) int {
	var mutex sync.Mutex
	seen := 0
	work := func(times int) {
		for i := 0; i < times; i++ {
			mutex.Lock()
			seen++
			runtime.Gosched()
			mutex.Unlock()
		}
	}
	done := make(chan struct{})
	go func() { work(count / 2); close(done) }()
	work(count / 2)
	<-done
	return seen
}

func queuePingPong(count int) int {
	there, back := make(chan int, 1), make(chan int, 1)
	seen := 0
	go func() {
		for i := 0; i < count/2; i++ {
			back <- <-there
		}
	}()
	for i := 0; i < count/2; i++ {
		there <- i
		if <-back == i {
			seen += 2
		}
	}
	return seen
}

func selectTwo(count int) int {
	queues := [2]chan int{make(chan int, 1), make(chan int, 1)}
	seen := 0
	for which := range queues {
		go func(queue chan int) {
			for i := 0; i < count/2; i++ {
				queue <- i
			}
		}(queues[which])
	}
	for seen < count {
		select {
		case <-queues[0]:
			seen++
		case <-queues[1]:
			seen++
		}
	}
	return seen
}

func processorTime() time.Duration {
	var usage syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func main() {
	names := []string{"create_and_await", "lock_hand_over", "queue_ping_pong", "select", "switch", "posts_1_thread"}
	scenarios := map[string]func(int) int{names[0]: createAndAwait, names[1]: lockHandOver, names[2]: queuePingPong,
		names[3]: selectTwo, names[4]: switchInTurn, names[5]: post}
	if len(os.Args) < 2 {
		fmt.Println(strings.Join(names, "\n"))
		return
	}
	runtime.GOMAXPROCS(1)
	count, rounds := 1000000, 3
	if len(os.Args) > 2 {
		count, _ = strconv.Atoi(os.Args[2])
	}
	if len(os.Args) > 3 {
		rounds, _ = strconv.Atoi(os.Args[3])
	}
	run := scenarios[os.Args[1]]
	if run == nil {
		fmt.Fprintln(os.Stderr, "no such scenario")
		os.Exit(2)
	}
	var wall, cpu []string
	for round := 0; round < rounds; round++ {
		startWall, startCpu := time.Now(), processorTime()
		if seen := run(count); seen != count {
			fmt.Fprintf(os.Stderr, "%d of %d happened\n", seen, count)
			os.Exit(1)
		}
		cpu = append(cpu, fmt.Sprintf("%.2f", float64(processorTime()-startCpu)/float64(count)))
		wall = append(wall, fmt.Sprintf("%.2f", float64(time.Since(startWall))/float64(count)))
	}
	fmt.Printf("{\"wall_ns\": [%s], \"cpu_ns\": [%s]}\n", strings.Join(wall, ", "), strings.Join(cpu, ", "))
}
