package orlop.bench;

import com.google.protobuf.ByteString;
import inference.ModelInferRequest;
import io.grpc.ManagedChannel;
import io.grpc.netty.NettyChannelBuilder;
import io.netty.channel.EventLoopGroup;
import io.netty.channel.MultiThreadIoEventLoopGroup;
import io.netty.channel.epoll.Epoll;
import io.netty.channel.epoll.EpollIoHandler;
import io.netty.channel.epoll.EpollSocketChannel;
import io.netty.channel.nio.NioIoHandler;
import io.netty.channel.socket.nio.NioSocketChannel;
import java.io.IOException;
import java.io.PrintWriter;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/**
 * What a routed call costs beside a direct one: three pods, each with a runtime beside it that
 * echoes, all in processes of their own, and the client in this one.
 */
@Command(
    name = "route",
    description = {
      "Measure what routing adds: three pods with a runtime beside each that echoes,",
      "beside the direct call. Processor time is the steadiest of the figures."
    })
final class RouteBench extends Benchmark {
  private static final int ROUNDS = 5;
  private static final int SMALL = 128;
  private static final int BULK = 1 << 20;
  private static final List<String> SMALL_HEAP = List.of("-Xmx256m");

  @Option(
      names = "--seconds",
      paramLabel = "N",
      description = "Seconds for each case: half of them warm up. Default: 50.")
  private int seconds = 50;

  /** One case in the course of the run. */
  private record Measured(
      LoadGenerator.Case what, List<Double> perSecond, List<Double> p50, List<Double> cpuMicros) {}

  @Override
  Figures measure(PrintWriter table) throws Exception {
    List<BenchProcess> processes = new ArrayList<>();
    List<ManagedChannel> channels = new ArrayList<>();
    boolean epoll = Epoll.isAvailable();
    EventLoopGroup group =
        new MultiThreadIoEventLoopGroup(
            1, epoll ? EpollIoHandler.newFactory() : NioIoHandler.newFactory());
    try {
      BenchProcess echo = BenchProcess.start(EchoServer.class, SMALL_HEAP);
      processes.add(echo);
      List<String> ports = freePorts();
      List<BenchProcess> pods = new ArrayList<>();
      for (int i = 0; i < RoutePod.PODS; i++) {
        List<String> args = new ArrayList<>(List.of(Integer.toString(i), echo.announced()));
        args.addAll(ports);
        BenchProcess pod =
            BenchProcess.start(RoutePod.class, SMALL_HEAP, args.toArray(String[]::new));
        processes.add(pod);
        pods.add(pod);
      }
      ManagedChannel direct = channel(echo.announced(), group, epoll);
      channels.add(direct);
      List<ManagedChannel> entries = new ArrayList<>();
      for (String port : ports) {
        ManagedChannel entry = channel("127.0.0.1:" + port, group, epoll);
        channels.add(entry);
        entries.add(entry);
      }
      return run(cases(direct, entries), pods, table);
    } finally {
      channels.forEach(ManagedChannel::shutdownNow);
      processes.reversed().forEach(BenchProcess::close);
      group.shutdownGracefully();
    }
  }

  private static List<String> freePorts() throws IOException {
    List<ServerSocket> held = new ArrayList<>();
    try {
      for (int i = 0; i < RoutePod.PODS; i++) {
        held.add(new ServerSocket(0, 1, InetAddress.getLoopbackAddress()));
      }
      return held.stream().map(s -> Integer.toString(s.getLocalPort())).toList();
    } finally {
      for (ServerSocket socket : held) {
        socket.close();
      }
    }
  }

  private static ManagedChannel channel(String address, EventLoopGroup group, boolean epoll) {
    return NettyChannelBuilder.forTarget("dns:///" + address)
        .usePlaintext()
        .directExecutor()
        .disableRetry()
        .disableServiceConfigLookUp()
        .eventLoopGroup(group)
        .channelType(epoll ? EpollSocketChannel.class : NioSocketChannel.class)
        .maxInboundMessageSize(64 << 20)
        .build();
  }

  /** The encoded requests for the models whose number leaves that rest, or for all. */
  private static byte[][] messages(int bytes, int rest) {
    List<byte[]> messages = new ArrayList<>();
    for (int i = 0; i < RoutePod.MODELS; i++) {
      if (rest < 0 || i % RoutePod.PODS == rest) {
        messages.add(
            ModelInferRequest.newBuilder()
                .setModelName(RoutePod.model(i))
                .addInputs(
                    ModelInferRequest.InferInputTensor.newBuilder()
                        .setName("x")
                        .setDatatype("FP32")
                        .addShape(bytes / 4))
                .addRawInputContents(ByteString.copyFrom(new byte[bytes]))
                .build()
                .toByteArray());
        if (bytes >= BULK && messages.size() == RoutePod.PODS) {
          break;
        }
      }
    }
    return messages.toArray(byte[][]::new);
  }

  private static List<LoadGenerator.Case> cases(
      ManagedChannel direct, List<ManagedChannel> entries) {
    byte[][] all = messages(SMALL, -1);
    byte[][][] local = new byte[RoutePod.PODS][][];
    byte[][][] hop = new byte[RoutePod.PODS][][];
    byte[][][] any = new byte[RoutePod.PODS][][];
    byte[][][] bulk = new byte[RoutePod.PODS][][];
    for (int i = 0; i < RoutePod.PODS; i++) {
      local[i] = messages(SMALL, i);
      hop[i] = messages(SMALL, (i + 1) % RoutePod.PODS);
      any[i] = all;
      bulk[i] = messages(BULK, -1);
    }
    byte[][][] only = {all};
    byte[][][] onlyBulk = {bulk[0]};
    List<ManagedChannel> one = List.of(direct);
    return List.of(
        new LoadGenerator.Case("direct c=1", 1, one, only),
        new LoadGenerator.Case("local c=1", 1, entries, local),
        new LoadGenerator.Case("hop c=1", 1, entries, hop),
        new LoadGenerator.Case("direct c=32", 32, one, only),
        new LoadGenerator.Case("local c=32", 32, entries, local),
        new LoadGenerator.Case("hop c=32", 32, entries, hop),
        new LoadGenerator.Case("any c=32", 32, entries, any),
        new LoadGenerator.Case("direct 1 MB c=8", 8, one, onlyBulk),
        new LoadGenerator.Case("any 1 MB c=8", 8, entries, bulk));
  }

  private Figures run(List<LoadGenerator.Case> cases, List<BenchProcess> pods, PrintWriter table)
      throws InterruptedException {
    long warmMs = seconds * 500L;
    long windowMs = Math.max(200, seconds * 500L / ROUNDS);
    Map<String, Measured> measured = new HashMap<>();
    for (LoadGenerator.Case what : cases) {
      LoadGenerator.run(what, warmMs);
      measured.put(
          what.name(), new Measured(what, new ArrayList<>(), new ArrayList<>(), new ArrayList<>()));
    }
    for (int round = 0; round < ROUNDS; round++) {
      for (LoadGenerator.Case what : cases) {
        long cpuBefore = pods.stream().mapToLong(BenchProcess::cpuMicros).sum();
        LoadGenerator.Window window = LoadGenerator.run(what, windowMs);
        long cpu = pods.stream().mapToLong(BenchProcess::cpuMicros).sum() - cpuBefore;
        Measured of = of(measured, what.name());
        of.perSecond.add(window.perSecond());
        of.p50.add(window.p50());
        of.cpuMicros.add((double) cpu / window.calls());
      }
    }
    table.printf(Locale.ROOT, "%n  %-18s %10s %10s %12s%n", "", "calls/s", "p50 µs", "pod CPU µs");
    for (LoadGenerator.Case what : cases) {
      Measured of = of(measured, what.name());
      table.printf(
          Locale.ROOT,
          "  %-18s %10.0f %10.1f %12.1f%n",
          what.name(),
          median(of.perSecond),
          median(of.p50),
          median(of.cpuMicros));
    }
    double directP50 = median(of(measured, "direct c=1").p50);
    return new Figures()
        .atMost(
            "localAddedVsDirect",
            (median(of(measured, "local c=1").p50) - directP50) / directP50,
            1.3)
        .atMost(
            "hopAddedVsDirect", (median(of(measured, "hop c=1").p50) - directP50) / directP50, 2.3)
        .atLeast(
            "anyEntryVsDirect",
            median(of(measured, "any c=32").perSecond)
                / median(of(measured, "direct c=32").perSecond),
            0.33)
        .atMost("cpuMicrosPerLocal", median(of(measured, "local c=32").cpuMicros), 18)
        .atMost("cpuMicrosPerHop", median(of(measured, "hop c=32").cpuMicros), 45)
        .atLeast(
            "bulkVsDirect",
            median(of(measured, "any 1 MB c=8").perSecond)
                / median(of(measured, "direct 1 MB c=8").perSecond),
            0.45);
  }

  private static Measured of(Map<String, Measured> measured, String name) {
    Measured found = measured.get(name);
    if (found == null) {
      throw new IllegalArgumentException("no case '" + name + "'");
    }
    return found;
  }

  private static double median(List<Double> values) {
    return values.stream().sorted().toList().get(values.size() / 2);
  }
}
