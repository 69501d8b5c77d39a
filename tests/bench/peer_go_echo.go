// Echo servers with Go's net package: a goroutine a connection, on as many cores as the process may use.
//
//	peer_go_echo [records|datagrams] PORT|PATH      prints "port N"; a path means a Unix socket
package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
)

func echo(connection net.Conn) {
	defer connection.Close()
	buffer := make([]byte, 65536)
	for {
		size, err := connection.Read(buffer)
		if err != nil {
			return
		}
		if _, err = connection.Write(buffer[:size]); err != nil {
			return
		}
	}
}

// What is written waits until nothing more is there to be read.
func echoRecords(connection net.Conn) {
	defer connection.Close()
	reader, writer := bufio.NewReaderSize(connection, 65536), bufio.NewWriterSize(connection, 65536)
	record := make([]byte, 64)
	for {
		if _, err := io.ReadFull(reader, record); err != nil {
			return
		}
		if _, err := writer.Write(record); err != nil {
			return
		}
		if reader.Buffered() == 0 && writer.Flush() != nil {
			return
		}
	}
}

func echoDatagrams(where string) {
	address, err := net.ResolveUDPAddr("udp", "127.0.0.1:"+where)
	fail(err)
	socket, err := net.ListenUDP("udp", address)
	fail(err)
	fmt.Println("port", socket.LocalAddr().(*net.UDPAddr).Port)
	buffer := make([]byte, 65536)
	for {
		size, from, err := socket.ReadFromUDPAddrPort(buffer)
		if err == nil {
			socket.WriteToUDPAddrPort(buffer[:size], from)
		}
	}
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	where, serve := "0", echo
	if len(os.Args) > 1 {
		where = os.Args[len(os.Args)-1]
	}
	if len(os.Args) > 2 && os.Args[1] == "datagrams" {
		echoDatagrams(where)
	}
	if len(os.Args) > 2 && os.Args[1] == "records" {
		serve = echoRecords
	}
	network, address := "tcp", "127.0.0.1:"+where
	if strings.Contains(where, "/") {
		network, address = "unix", where
	}
	listener, err := net.Listen(network, address)
	fail(err)
	if tcp, is_tcp := listener.Addr().(*net.TCPAddr); is_tcp {
		fmt.Println("port", tcp.Port)
	} else {
		fmt.Println("port 0")
	}
	for {
		connection, err := listener.Accept() // with TCP_NODELAY, as Go sets it
		fail(err)
		go serve(connection)
	}
}
