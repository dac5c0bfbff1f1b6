package orlop.deploy;

import java.io.ByteArrayOutputStream;
import java.io.Closeable;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.function.IntSupplier;

/** A TCP proxy on a port of its own that keeps every byte that passes, by direction. */
final class Recorder implements Closeable {
  private final ServerSocket listening;
  private final IntSupplier target;
  private final List<Socket> open = new CopyOnWriteArrayList<>();
  private final List<ByteArrayOutputStream> streams = new CopyOnWriteArrayList<>();

  /**
   * @param target port on this machine, asked for with each connection
   */
  Recorder(IntSupplier target) throws IOException {
    this.target = target;
    this.listening = new ServerSocket(0, 50, InetAddress.getLoopbackAddress());
    Thread.startVirtualThread(this::accept);
  }

  int port() {
    return listening.getLocalPort();
  }

  /** One array for each direction of each connection. */
  List<byte[]> recorded() {
    return streams.stream().map(ByteArrayOutputStream::toByteArray).toList();
  }

  private void accept() {
    try {
      while (true) {
        Socket from = listening.accept();
        Socket to = new Socket(InetAddress.getLoopbackAddress(), target.getAsInt());
        open.add(from);
        open.add(to);
        pump(from, to);
        pump(to, from);
      }
    } catch (IOException e) {
      // Closed.
    }
  }

  private void pump(Socket from, Socket to) {
    ByteArrayOutputStream kept = new ByteArrayOutputStream();
    streams.add(kept);
    Thread.startVirtualThread(
        () -> {
          byte[] buffer = new byte[16 << 10];
          try (from;
              to) {
            InputStream in = from.getInputStream();
            OutputStream out = to.getOutputStream();
            for (int n = in.read(buffer); n >= 0; n = in.read(buffer)) {
              kept.write(buffer, 0, n);
              out.write(buffer, 0, n);
            }
          } catch (IOException e) {
            // One side has gone.
          }
        });
  }

  @Override
  public void close() throws IOException {
    listening.close();
    for (Socket socket : open) {
      socket.close();
    }
  }
}
