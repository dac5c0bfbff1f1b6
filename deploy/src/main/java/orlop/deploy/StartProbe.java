package orlop.deploy;

import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;

/**
 * Answers the probes while a pod waits for the runtime beside it: alive and not ready. The pod's
 * own pages take the port over.
 */
final class StartProbe implements AutoCloseable {
  private static final int OK = 200;
  private static final int UNAVAILABLE = 503;
  private static final int NO_BODY = -1;

  private final HttpServer server;

  /**
   * @param port 0: nobody can know the port, so any will do
   * @throws CommandException when the port cannot be opened
   */
  StartProbe(String host, int port) {
    try {
      server = HttpServer.create(new InetSocketAddress(host, port), 0);
    } catch (IOException e) {
      throw new CommandException(
          "cannot listen on %s:%d (probePort): %s".formatted(host, port, e.getMessage()),
          "free that port or set the key to another; 0 takes any",
          e);
    }
    server.createContext(
        "/",
        exchange -> {
          boolean live = exchange.getRequestURI().getPath().equals("/live");
          exchange.sendResponseHeaders(live ? OK : UNAVAILABLE, NO_BODY);
          exchange.close();
        });
    server.start();
  }

  @Override
  public void close() {
    server.stop(0);
  }
}
