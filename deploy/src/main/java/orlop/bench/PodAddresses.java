package orlop.bench;

import io.grpc.EquivalentAddressGroup;
import io.grpc.NameResolver;
import io.grpc.NameResolverProvider;
import io.grpc.StatusOr;
import java.net.InetSocketAddress;
import java.net.SocketAddress;
import java.net.URI;
import java.util.Collection;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.atomic.AtomicInteger;
import org.jspecify.annotations.Nullable;

/**
 * The addresses of a mesh's pods as a client hears of them: what a headless service in Kubernetes
 * is to its clients. Thread-safe.
 */
final class PodAddresses extends NameResolverProvider {
  private static final AtomicInteger COUNT = new AtomicInteger();

  /** Its own, so that several meshes may be called by one process. */
  private final String scheme = "orlop-bench-" + COUNT.incrementAndGet();

  private final List<Resolver> resolvers = new CopyOnWriteArrayList<>();
  private volatile List<Integer> ports = List.of();

  /** What a channel is made for. */
  String target() {
    return scheme + ":///pods";
  }

  /** From now on these ports of the loopback interface. */
  void set(List<Integer> now) {
    ports = List.copyOf(now);
    resolvers.forEach(Resolver::tell);
  }

  @Override
  protected boolean isAvailable() {
    return true;
  }

  @Override
  protected int priority() {
    return 5;
  }

  @Override
  public String getDefaultScheme() {
    return scheme;
  }

  @Override
  public Collection<Class<? extends SocketAddress>> getProducedSocketAddressTypes() {
    return Set.of(InetSocketAddress.class);
  }

  @Override
  public @Nullable NameResolver newNameResolver(URI target, NameResolver.Args args) {
    if (!scheme.equals(target.getScheme())) {
      return null;
    }
    Resolver resolver = new Resolver();
    resolvers.add(resolver);
    return resolver;
  }

  private final class Resolver extends NameResolver {
    private volatile @Nullable Listener2 listener;

    @Override
    public String getServiceAuthority() {
      return "pods";
    }

    @Override
    public void start(Listener2 told) {
      listener = told;
      tell();
    }

    @Override
    public void refresh() {
      tell();
    }

    void tell() {
      Listener2 told = listener;
      if (told != null) {
        List<EquivalentAddressGroup> groups =
            ports.stream()
                .map(port -> new EquivalentAddressGroup(new InetSocketAddress("127.0.0.1", port)))
                .toList();
        told.onResult(
            ResolutionResult.newBuilder().setAddressesOrError(StatusOr.fromValue(groups)).build());
      }
    }

    @Override
    public void shutdown() {
      resolvers.remove(this);
    }
  }
}
