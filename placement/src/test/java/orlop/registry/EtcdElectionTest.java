package orlop.registry;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import orlop.api.TcpProxy;

/** One leader at a time, and none that does not know that it leads no more. */
@Tag("slow")
class EtcdElectionTest extends WithEtcd {
  @Test
  void oneLeaderStopsBeforeTheNextOneStartsWhenItLosesTheNetwork() throws Exception {
    TcpProxy network = proxy();
    EtcdRegistry first = connect(network.endpoint(), 3_000, 2_000);
    EtcdRegistry second = connect(3_000);
    List<String> heard = Collections.synchronizedList(new ArrayList<>());
    first.campaign("first", leads -> heard.add("first " + leads));
    Await.until("the first leads", () -> heard.size() == 1);
    second.campaign("second", leads -> heard.add("second " + leads));

    network.cut();
    Await.until("the second leads", () -> heard.size() == 3);
    assertEquals(List.of("first true", "first false", "second true"), heard);
    network.mend();
    Await.until("the first is back", first::connected);
    pass(3_000);
    assertEquals(3, heard.size(), () -> "the second keeps leading: " + heard);
  }

  @Test
  void aLeaderKeepsLeadingThroughARestartThatIsShorterThanItsLease() throws Exception {
    EtcdRegistry registry = connect(30_000);
    List<Boolean> heard = Collections.synchronizedList(new ArrayList<>());
    registry.campaign("only", heard::add);
    Await.until("it leads", () -> heard.size() == 1);
    etcd.kill();
    etcd.restart();
    Await.until("back", registry::connected);
    pass(2_000);
    assertEquals(List.of(true), heard);
  }

  @Test
  void aLeaderWhoseLeaseIsRevokedIsToldAndLeadsAgainUnderAnother() throws Exception {
    EtcdRegistry registry = connect(3_000);
    List<Boolean> heard = Collections.synchronizedList(new ArrayList<>());
    EtcdCandidate candidate = (EtcdCandidate) registry.campaign("only", heard::add);
    Await.until("it leads", () -> heard.size() == 1);
    long lease = candidate.leaseId();
    registry.store().client().getLeaseClient().revoke(lease).get(30, TimeUnit.SECONDS);
    Await.until("it leads again", () -> heard.size() == 3 || candidate.leaseId() != lease);
    pass(2_000);
    assertTrue(heard.getLast(), heard.toString());
  }
}
